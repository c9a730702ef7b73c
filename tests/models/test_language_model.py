"""Language models: their equations, what every generator keeps, AWD-LSTM's noise, and published sizes."""

import pytest
import torch
from pydantic import ValidationError

from checks import language_model as checks
from checks import models as model_checks
from checks.language_model import QUIET, language_model_model
from checks.making import UNSHARED
from checks.search import search_scores_are_the_model_s
from regard.models import language_model
from regard.protocol import Decodable, Dimensions

SHAPES = {
    "awd": {},
    "rnn": {"cell": "rnn"},
    "one layer": {"num_layers": 1, "size": 256, "hidden_dropout": 0.0},
    "untied": {"tied": False, "cell": "gru", "num_layers": 2},
}
INVARIANTS = [
    model_checks.the_future_does_not_leak,
    model_checks.padding_changes_nothing,
    model_checks.the_order_of_rows_changes_nothing,
    model_checks.a_step_says_what_forward_says,
    model_checks.beams_say_what_forward_says,
    model_checks.a_state_is_not_changed_by_a_step,
    model_checks.looking_changes_nothing,
    model_checks.evaluation_is_deterministic,
]


@pytest.mark.parametrize("shape", SHAPES)
def test_a_padded_batch_follows_the_equations_of_each_text(shape):
    checks.follows_the_equations(**SHAPES[shape])


@pytest.mark.parametrize("shape", ["awd", "rnn"])
@pytest.mark.parametrize("check", INVARIANTS, ids=lambda check: check.__name__)
def test_it_keeps_the_invariant(check, shape):
    check(lambda **settings: language_model_model(**(SHAPES[shape] | settings)))


@pytest.mark.parametrize("shape", SHAPES)
def test_reading_goes_on_where_it_stopped(shape):
    checks.reading_goes_on(**SHAPES[shape])


def test_the_source_is_not_read():
    checks.the_source_is_not_read()
    assert isinstance(language_model_model(), Decodable)
    assert not language_model_model().reads_source


def test_a_search_scores_what_the_model_says():
    search_scores_are_the_model_s(language_model_model)


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_weights_are_dropped_the_same_at_every_step(cell):
    checks.weights_are_dropped_the_same_at_every_step(cell)


def test_locked_noise_is_the_same_at_every_place():
    checks.locked_noise_is_the_same_at_every_place()


def test_words_are_dropped_as_a_whole():
    checks.words_are_dropped_as_a_whole()


def test_the_penalty_follows_the_formula():
    checks.the_penalty_follows_the_formula()


@pytest.mark.parametrize("cell", ["rnn", "lstm"])
def test_it_learns_one_text_by_heart(cell):
    torch.manual_seed(0)
    config = language_model.Config(cell=cell, embedding_size=24, size=24, tied=False, alpha=0, beta=0, **QUIET)
    checks.learned_by_heart(language_model.build(config, UNSHARED))


@pytest.mark.parametrize(("vocabulary", "parameters"), [(10_000, 24.22e6), (33_278, 33.56e6), (60_000, 44.33e6)])
def test_the_published_shapes_have_the_published_parameters(vocabulary, parameters):
    size = 1150 if vocabulary < 50_000 else 1152
    with torch.device("meta"):
        config = language_model.Config(preset="awd", size=size)
        model = language_model.build(config, Dimensions(vocabulary, vocabulary, True))
    assert sum(parameter.numel() for parameter in model.parameters()) == pytest.approx(parameters, abs=5e3)


@pytest.mark.parametrize("settings", [{"num_layers": 1}, {"preset": "lstm", "size": 64}, {"preset": "large"}], ids=str)
def test_what_cannot_be_is_refused(settings):
    with pytest.raises(ValidationError):
        language_model.Config(**settings)
