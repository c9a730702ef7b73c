"""Deep-Att: its equations, what every encoder-decoder keeps, and what is special about it."""

import math

import pytest
import torch
from pydantic import ValidationError

from checks import deep_att as checks
from checks.deep_att import deep_att_model
from checks.half_precision import half_precision_is_close
from checks.making import UNSHARED
from checks.models import INVARIANTS
from checks.overfitting import learned_by_heart
from checks.search import search_scores_are_the_model_s
from regard.models import deep_att
from regard.protocol import Decodable, Dimensions

SHAPES = {
    "deep": {},
    "one layer": {"encoder_layers": 1, "decoder_layers": 1},
    "without fast-forward": {"fast_forward": False},
    "tied": {"tied": True, "embedding_size": 3},
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_padded_batch_follows_the_equations_of_each_sentence(shape):
    checks.follows_the_equations(**SHAPES[shape])


@pytest.mark.parametrize("check", INVARIANTS, ids=lambda check: check.__name__)
def test_it_keeps_the_invariant(check):
    check(deep_att_model)


def test_a_search_scores_what_the_model_says():
    search_scores_are_the_model_s(deep_att_model)
    assert isinstance(deep_att_model(), Decodable)


@pytest.mark.parametrize(
    "check",
    [checks.the_fast_way_is_linear, checks.the_columns_read_against_each_other, checks.the_gradient_reaches_the_bottom],
    ids=lambda check: check.__name__,
)
def test_what_is_special_about_it(check):
    check()


def test_it_learns_one_batch_by_heart():
    torch.manual_seed(0)
    shape = {"size": 24, "embedding_size": 24, "memory_size": 24, "encoder_layers": 2, "decoder_layers": 2}
    model = deep_att.build(deep_att.Config(**shape, tied=False, dropout=0.0), UNSHARED)
    learned_by_heart(model, updates=260, learning_rate=0.01)


def num_parameters(preset, dimensions):
    with torch.device("meta"):
        model = deep_att.build(deep_att.Config(preset=preset), dimensions)
    return sum(parameter.numel() for parameter in model.parameters())


def test_the_paper_s_shape_has_these_parameters():
    """9 + 7 layers of 512, words of 256, 160,000 source and 80,000 target words; the paper prints no total."""
    size, words = 512, 256
    upper = 4 * size * (3 * size + size + 2)
    encoder = 2 * (4 * size * (words + size + 2) + 8 * upper)
    decoder = 4 * size * (words + 10 * size + size + 2) + 6 * upper
    attention = 10 * size * 1280 + 1280 * size + size * size + size
    ends = (160_000 + 80_000) * words + 80_000 * (size + 1)
    assert num_parameters("paper", Dimensions(160_000, 80_000)) == encoder + decoder + attention + ends
    assert 9e6 < num_parameters("small", Dimensions(8000, 8000, True)) < 10e6


def test_the_gradient_demonstration_compares_the_same_depth():
    assert checks.gradient_at_the_bottom(fast_forward=False, depth=1) > 0


def test_one_matrix_for_embeddings_and_readout_where_asked():
    shared = deep_att_model(dimensions=Dimensions(11, 11, True), tied=True, embedding_size=3)
    assert shared.readout.weight is shared.decoder.embedding.weight is shared.encoder.embedding.weight
    two = deep_att_model(tied=True, embedding_size=3)
    assert two.readout.weight is two.decoder.embedding.weight is not two.encoder.embedding.weight


def test_16_bits_say_nearly_what_32_say():
    torch.manual_seed(0)
    half_precision_is_close(
        deep_att.build(deep_att.Config(size=64, embedding_size=64, dropout=0.0), UNSHARED), tolerance=0.02
    )


@pytest.mark.parametrize(
    "settings", [{"encoder_layers": 0}, {"preset": "big"}, {"tied": True, "embedding_size": 8}], ids=str
)
def test_what_cannot_be_is_refused(settings):
    with pytest.raises(ValidationError):
        deep_att.Config(**settings)


def test_a_tied_embedding_starts_as_an_embedding():
    model = deep_att.build(deep_att.Config(embedding_size=64, size=64, tied=True), Dimensions(500, 500, True))
    assert model.readout.weight.std().item() == pytest.approx(1 / math.sqrt(64), rel=0.05)
