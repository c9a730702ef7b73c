"""GNMT: its equations, what every encoder-decoder keeps, and what is special about it."""

import math

import pytest
import torch
from pydantic import ValidationError

from checks import gnmt as checks
from checks.gnmt import gnmt_model
from checks.half_precision import half_precision_is_close
from checks.making import UNSHARED
from checks.models import INVARIANTS
from checks.overfitting import learned_by_heart
from checks.search import search_scores_are_the_model_s
from regard.models import gnmt
from regard.protocol import Decodable, Dimensions

SHAPES = {
    "residuals": {},
    "two layers": {"encoder_layers": 2, "decoder_layers": 2},
    "the bottom alone": {"encoder_layers": 3, "decoder_layers": 1},
    "tied": {"tied": True},
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_padded_batch_follows_the_equations_of_each_sentence(shape):
    checks.follows_the_equations(**SHAPES[shape])


@pytest.mark.parametrize("shape", ["residuals", "the bottom alone"])
@pytest.mark.parametrize("check", INVARIANTS, ids=lambda check: check.__name__)
def test_it_keeps_the_invariant(check, shape):
    check(lambda **settings: gnmt_model(**(SHAPES[shape] | settings)))


def test_a_search_scores_what_the_model_says():
    search_scores_are_the_model_s(gnmt_model)
    assert isinstance(gnmt_model(), Decodable)


def test_every_decoder_layer_hears_the_context():
    checks.every_decoder_layer_hears_the_context()


def test_from_the_third_layer_on_there_is_a_way_around_each_layer():
    checks.silent_layers_are_transparent()


def test_it_learns_one_batch_by_heart():
    torch.manual_seed(0)
    learned_by_heart(gnmt.build(gnmt.Config(size=24, encoder_layers=3, decoder_layers=3, dropout=0.0), UNSHARED))


def num_parameters(preset, dimensions):
    with torch.device("meta"):
        model = gnmt.build(gnmt.Config(preset=preset), dimensions)
    return sum(parameter.numel() for parameter in model.parameters())


def test_the_paper_s_shape_has_the_paper_s_parameters():
    assert num_parameters("paper", Dimensions(32_000, 32_000)) == 280_928_512  # 278M reported in the MoE paper
    assert 8.0e6 < num_parameters("small", Dimensions(8000, 8000, True)) < 8.5e6


def test_one_matrix_for_embeddings_and_readout_where_asked():
    shared = gnmt_model(dimensions=Dimensions(11, 11, True), tied=True)
    assert shared.readout.weight is shared.decoder.embedding.weight is shared.encoder.embedding.weight
    two = gnmt_model(tied=True)
    assert two.readout.weight is two.decoder.embedding.weight is not two.encoder.embedding.weight
    assert gnmt_model().readout.weight is not gnmt_model().decoder.embedding.weight


def test_16_bits_say_nearly_what_32_say():
    torch.manual_seed(0)
    model = gnmt.build(gnmt.Config(size=64, dropout=0.0), UNSHARED)
    half_precision_is_close(model, tolerance=0.02)


@pytest.mark.parametrize("settings", [{"encoder_layers": 1}, {"preset": "big"}, {"residual": True}], ids=str)
def test_what_cannot_be_is_refused(settings):
    with pytest.raises(ValidationError):
        gnmt.Config(**settings)


def test_a_tied_embedding_starts_as_an_embedding():
    model = gnmt.build(gnmt.Config(size=64, tied=True, encoder_layers=3, decoder_layers=3), Dimensions(500, 500, True))
    assert model.readout.weight.std().item() == pytest.approx(1 / math.sqrt(64), rel=0.05)
