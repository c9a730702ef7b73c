"""Dropout, embedding, positions, add & norm, fully connected, stack."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.testing import assert_close

from checks import layers as checks
from checks.making import randomise
from regard.errors import DataError
from regard.layers.add_and_norm import PostNorm, PreNorm
from regard.layers.dropout import Dropout
from regard.layers.embedding import Embedding
from regard.layers.fully_connected import FullyConnected
from regard.layers.positional_encoding import Learned, Sinusoidal, sinusoids
from regard.layers.stack import Stack


def test_dropout_keeps_the_mean():
    checks.dropout_keeps_the_mean()


def test_dropout_draws_every_element_for_itself():
    checks.dropout_draws_every_element_for_itself()


def test_dropout_of_nearly_everything_is_finite():
    assert Dropout(0.999999).train()(torch.ones(1000)).isfinite().all()


@pytest.mark.parametrize("shape", [(3,), (4,), (1, 5, 3), (0,), ()])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_dropout_takes_any_shape_and_format(shape, dtype):
    states = torch.ones(shape, dtype=dtype)
    for dropped in (Dropout(0.5).train()(states), Dropout(0.5).train().add(states, states)):
        assert dropped.shape == shape
        assert dropped.dtype == dtype


def test_dropout_resumes_bit_for_bit():
    dropout, states = Dropout(0.3).train(), torch.randn(7, 5)
    torch.manual_seed(4)
    dropout(states)
    saved = torch.get_rng_state()
    then = dropout(states)
    torch.set_rng_state(saved)
    assert_close(dropout(states), then, rtol=0, atol=0)
    assert not torch.equal(dropout(states), then)


def test_dropped_and_added_is_added_and_dropped():
    dropout, residual, states = Dropout(0.3).train(), torch.randn(6, 5), torch.randn(6, 5)
    torch.manual_seed(4)
    added = dropout.add(residual, states)
    torch.manual_seed(4)
    assert_close(added, residual + dropout(states))
    dropout.eval()
    assert_close(dropout.add(residual, states), residual + states, rtol=0, atol=0)


def test_what_dropout_drops_gets_no_gradient():
    states = torch.ones(1000, requires_grad=True)
    residual = torch.zeros(1000, requires_grad=True)
    dropped = Dropout(0.3).train().add(residual, states)
    dropped.sum().backward()
    assert_close(states.grad, dropped.detach())
    assert_close(residual.grad, torch.ones(1000))


@pytest.mark.parametrize("probability", [0.0, 0.4])
def test_dropout_does_nothing_in_evaluation(probability):
    states = torch.randn(5)
    assert Dropout(probability).eval()(states) is states
    assert Dropout(0.0).train()(states) is states


@pytest.mark.parametrize("probability", [-0.1, 1.0, 2.0])
def test_dropout_refuses_what_is_no_probability(probability):
    with pytest.raises(ValueError, match="at least 0 and less than 1, but it is"):
        Dropout(probability)


def test_embeddings_are_scaled_rows():
    embedding = Embedding(10, 16, scale=4.0)
    tokens = torch.tensor([[3, 9]])
    assert_close(embedding(tokens)[0, 1], 4 * embedding.weight[9])
    assert_close(Embedding(5000, 64).weight.std(), torch.tensor(1 / 8), rtol=0.02, atol=0)


def test_sines_follow_the_formula():
    checks.sines_follow_the_formula()


def test_the_encoding_of_a_later_position_is_a_linear_map_of_an_earlier_one():
    table = sinusoids(0, 60, 8)
    for offset in (1, 7):
        earlier, later = table[:-offset], table[offset:]
        assert (earlier @ torch.linalg.lstsq(earlier, later).solution - later).abs().max() < 1e-9


def test_there_is_no_longest_sentence_with_sines():
    positions = Sinusoidal(8)
    far = positions.encode(600, 620)
    assert_close(far, sinusoids(600, 620, 8).float())
    assert_close(positions.encode(505, 520)[:7], positions.encode(505, 512))
    assert_close(positions(torch.zeros(2, 3, 8), start=600)[1], far[:3])


def test_sines_are_no_part_of_a_saved_model():
    assert not Sinusoidal(8).state_dict()


def test_learned_positions_end_with_advice():
    positions = Learned(4, 6)
    assert_close(positions(torch.zeros(1, 2, 4), start=4)[0], positions.weight[4:])
    with pytest.raises(DataError, match=r"a text of 7 tokens, .* learned positions for 6 only; shorten or split"):
        positions(torch.zeros(1, 2, 4), start=5)


def test_add_and_norm_in_both_orders():
    states, branch = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    for order in (PostNorm, PreNorm):
        layer = order(4, dropout=0.5).eval()
        randomise(layer)

        def norm(x, layer=layer):
            return functional.layer_norm(x, (4,), layer.norm.weight, layer.norm.bias)

        post = order is PostNorm
        assert_close(layer.enter(states), states if post else norm(states))
        assert_close(layer.leave(states, branch), norm(states + branch) if post else states + branch)


def test_fully_connected_is_its_formula():
    layer = FullyConnected(3, 5, activation=functional.gelu, dropout=0.5).eval()
    randomise(layer)
    states = torch.randn(2, 4, 3)
    hidden = functional.gelu(states @ layer.inner.weight.T + layer.inner.bias)
    assert_close(layer(states), hidden @ layer.outer.weight.T + layer.outer.bias)
    assert [name for name, _ in FullyConnected(3, 5, bias=False).named_parameters()] == ["inner.weight", "outer.weight"]


def test_hidden_units_are_dropped_while_training():
    layer = FullyConnected(3, 50, activation=torch.relu, dropout=0.5).train()
    assert not torch.equal(layer(torch.ones(1, 3)), layer(torch.ones(1, 3)))


def test_a_stack_is_an_ordered_list_of_layers():
    layers = [nn.Linear(2, 2) for _ in range(12)]
    stack = Stack(layers)
    assert list(stack) == layers
    assert len(stack) == 12
    assert stack[11] is layers[11]
    assert list(stack.state_dict())[-1] == "11.bias"
    assert math.isclose(sum(p.numel() for p in stack.parameters()), 72)
