"""The encoder-decoder: every score, cell and option against its equations, and what attention is good for."""

import math

import pytest
import torch
from pydantic import ValidationError
from torch.testing import assert_close

from checks import seq2seq as checks
from checks.half_precision import half_precision_is_close
from checks.making import example
from checks.models import INVARIANTS, weights_are_probabilities
from checks.overfitting import learned_by_heart
from checks.search import search_scores_are_the_model_s
from checks.seq2seq import EXACT, seq2seq_model
from regard.models import seq2seq
from regard.protocol import Batch, Decodable, Dimensions
from regard.symbols import BOS, EOS

SAME = {"encoder_size": 6, "decoder_size": 6}
VARIANTS = {
    "plain": {"score": "none"},
    "plain, reversed, no bridge": {"score": "none", "bidirectional": False, "reverse_source": True, **SAME},
    "dot": {"score": "dot", **SAME},
    "scaled dot, fed": {"score": "scaled_dot", "input_feeding": True, **SAME},
    "multiplicative": {"score": "multiplicative", "encoder_layers": 3},
    "multiplicative, fed": {"score": "multiplicative", "input_feeding": True, "encoder_layers": 2},
    "additive": {"score": "additive", "attention_size": 7},
    "additive, fed": {"score": "additive", "input_feeding": True, "bidirectional": False, "encoder_size": 7},
    "gru": {"cell": "gru", "score": "additive"},
    "gru, fed": {"cell": "gru", "input_feeding": True, "encoder_layers": 2},
    "rnn": {"cell": "rnn", "bidirectional": False, "encoder_size": 3, "reverse_source": True},
    "rnn, fed, tied": {"cell": "rnn", "input_feeding": True, "embedding_size": 5, "tied": True},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_padded_batch_follows_the_equations_of_each_sentence(variant):
    checks.follows_the_equations(**VARIANTS[variant])


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("check", INVARIANTS, ids=lambda check: check.__name__)
def test_it_keeps_the_invariant(check, variant):
    if check is weights_are_probabilities and VARIANTS[variant].get("score") == "none":
        pytest.skip("no attention, no weights")
    check(lambda **settings: seq2seq_model(**(VARIANTS[variant] | settings)))


@pytest.mark.parametrize("variant", ["plain", "additive, fed", "gru"])
def test_a_search_scores_what_the_model_says(variant):
    search_scores_are_the_model_s(lambda **settings: seq2seq_model(**(VARIANTS[variant] | settings)))


def test_the_order_is_context_then_state():
    checks.the_context_comes_first()


@pytest.mark.parametrize("score", ["multiplicative", "additive"])
@pytest.mark.parametrize("fed", [False, True])
def test_keys_are_projected_once(score, fed):
    checks.keys_are_projected_once(score=score, input_feeding=fed)


@pytest.mark.parametrize("fed", [False, True])
def test_a_record_keeps_the_order_of_the_source(fed):
    checks.the_record_keeps_source_order(bidirectional=False, reverse_source=True, input_feeding=fed)


def test_two_halves_of_a_target_are_the_whole():
    model, batch = seq2seq_model(), example(target_lengths=(6, 6, 6))
    memory, carry = model.encode(batch.source)
    whole = model.decoder(batch.decoder_input, memory, carry, None)
    first, tokens = batch.decoder_input[:, :2], batch.decoder_input[:, 2:]
    halves = [model.decoder(first, memory, carry, None)]
    for token in first.unbind(1):
        _, carry = model.decoder.step(token, memory, carry, None)
    halves.append(model.decoder(tokens, memory, carry, None))
    assert_close(torch.cat(halves, 1), whole, **EXACT)


def test_without_attention_only_the_last_state_is_passed_on():
    model, source = seq2seq_model(score="none"), example().source
    memory, carry = model.encode(source)
    assert memory is None
    assert carry.states.hidden.shape == (3, 2, 5)
    assert carry.fed is None


@pytest.mark.parametrize("score", ["dot", "multiplicative", "additive"])
def test_attention_brings_the_gradient_to_a_far_word(score):
    with_attention = checks.gradient_at_the_first_word(score)
    without = checks.gradient_at_the_first_word("none")
    assert with_attention > 100 * without > 0, f"{with_attention:.1e} against {without:.1e}"


@pytest.mark.parametrize(
    "settings", [{"score": "none"}, {}, {"score": "additive", "cell": "gru"}, {"input_feeding": True}], ids=str
)
def test_it_learns_one_batch_by_heart(settings):
    torch.manual_seed(0)
    sizes = {"embedding_size": 16, "encoder_size": 24, "decoder_size": 24, "dropout": 0.0}
    learned_by_heart(seq2seq.build(seq2seq.Config(**(sizes | settings)), checks.UNSHARED))


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_16_bits_say_nearly_what_32_say(cell):
    torch.manual_seed(0)
    sizes = {"embedding_size": 32, "encoder_size": 64, "decoder_size": 64, "dropout": 0.0}
    model = seq2seq.build(seq2seq.Config(cell=cell, score="additive", **sizes), Dimensions(13, 11))
    exact, half = half_precision_is_close(model, tolerance=0.02)
    assert 0.98 < half.norm() / exact.norm() < 1.02


def test_one_matrix_for_embeddings_and_readout_where_asked():
    shared = seq2seq_model(dimensions=Dimensions(11, 11, True), embedding_size=5, tied=True)
    assert shared.readout.weight is shared.decoder.embedding.weight is shared.encoder.embedding.weight
    two = seq2seq_model(embedding_size=5, tied=True)
    assert two.readout.weight is two.decoder.embedding.weight is not two.encoder.embedding.weight
    assert seq2seq_model().readout.weight is not seq2seq_model().decoder.embedding.weight


def test_what_is_fed_back_is_carried_a_row_a_hypothesis():
    model, batch = seq2seq_model(input_feeding=True), example()
    _, state = model.step(model.encode(batch.source), torch.full((3,), BOS))
    assert state.carry.fed.shape == (3, 5)
    assert (state.carry.fed != 0).any()


def test_it_can_be_searched():
    assert isinstance(seq2seq_model(), Decodable)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"score": "dot", "encoder_size": 6, "decoder_size": 4}, ["6 and 4", "multiplicative or additive"]),
        ({"score": "scaled_dot", "encoder_size": 6, "decoder_size": 4}, ["encoder_size = decoder_size"]),
        ({"encoder_size": 7}, ["7 is odd"]),
        ({"reverse_source": True}, ["no effect", "reads both ways"]),
        ({"tied": True, "embedding_size": 3}, ["3 and 512"]),
        ({"attention_size": 3}, ["attention_size has no effect with score multiplicative"]),
        ({"score": "none", "input_feeding": True}, ["no attention to feed back"]),
    ],
    ids=str,
)
def test_settings_that_do_not_go_together_are_explained(settings, words):
    with pytest.raises(ValidationError) as error:
        seq2seq.Config(**settings)
    assert all(word in str(error.value) for word in words)


def test_an_empty_target_gets_the_first_word_only():
    model = seq2seq_model()
    logits = model(Batch(torch.tensor([[5, EOS]]), torch.tensor([[BOS, EOS]]))).logits
    assert logits.shape == (1, 1, 11)


def test_a_tied_embedding_starts_as_an_embedding():
    model = seq2seq.build(
        seq2seq.Config(embedding_size=64, decoder_size=64, encoder_size=64, tied=True), Dimensions(500, 500, True)
    )
    assert model.readout.weight.std().item() == pytest.approx(1 / math.sqrt(64), rel=0.05)
