import pytest
import torch
from torch import nn

from checks.making import example
from regard.attention.record import AttentionRecord
from regard.layers.int8_linear import Int8Linear, to_int8
from regard.models import seq2seq
from regard.protocol import Dimensions


@pytest.mark.parametrize("bias", [True, False])
def test_the_error_is_that_of_rounding_to_8_bits(bias):
    torch.manual_seed(0)
    linear = nn.Linear(64, 48, bias=bias)
    inputs = torch.randn(3, 5, 64) * torch.logspace(-3, 3, 5)[:, None]
    with torch.no_grad():
        expected, outputs = linear(inputs), Int8Linear(linear)(inputs)
    assert outputs.shape == expected.shape
    # Both factors are off by at most half a step of 1/127 of their row's greatest value.
    scale = inputs.abs().amax(-1, keepdim=True) * linear.weight.abs().amax(1)
    assert ((outputs - expected).abs() <= scale * 64 * (1 / 127 + 1 / 127**2)).all()
    assert ((outputs - expected).abs().mean((0, 2)) / expected.abs().mean((0, 2)) < 0.02).all()


def test_a_row_does_not_depend_on_its_neighbours_to_the_last_bit():
    torch.manual_seed(1)
    layer, inputs = Int8Linear(nn.Linear(64, 300)), torch.randn(40, 64)
    together = layer(inputs)
    inputs[1:] *= 1000
    for rows in (slice(0, 1), slice(0, 2), slice(0, 7), slice(0, 40)):
        assert layer(inputs[rows])[0].equal(together[0])


def test_zeros_give_the_bias():
    linear = nn.Linear(8, 5)
    nn.init.zeros_(linear.weight)
    assert Int8Linear(linear)(torch.randn(2, 8)).equal(linear.bias.detach().expand(2, -1))
    assert Int8Linear(nn.Linear(8, 5, bias=False))(torch.zeros(2, 8)).equal(torch.zeros(2, 5))


def test_every_linear_layer_of_a_copy_is_replaced_and_the_model_kept():
    model = nn.Sequential(nn.Linear(4, 4), nn.ModuleDict({"deep": nn.Linear(4, 2)}), nn.LayerNorm(2))
    quantised = to_int8(model)
    assert [type(module).__name__ for module in quantised.modules() if not list(module.children())] == [
        "Int8Linear",
        "Int8Linear",
        "LayerNorm",
    ]
    assert isinstance(model[0], nn.Linear)
    assert quantised[0].weight.dtype == torch.int8


@pytest.mark.parametrize("score", ["additive", "multiplicative", "dot"])
def test_attention_in_8_bits_looks_where_it_looked(score):
    torch.manual_seed(2)
    model = seq2seq.build(
        seq2seq.Config(score=score, embedding_size=16, encoder_size=16, decoder_size=16), Dimensions(20, 20)
    ).eval()
    batch = example(source_lengths=(7, 7), target_lengths=(5, 5))
    exact, rounded = AttentionRecord(), AttentionRecord()
    with torch.no_grad():
        model(batch, exact)
        to_int8(model)(batch, rounded)
    (site,) = exact.sites
    assert (exact.weights(site) - rounded.weights(site)).abs().max() < 0.01
