"""Heads side by side: torch's multi-head attention, the cache, and what does not divide."""

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.testing import assert_close

from checks.making import float64, randomise
from checks.rotary import turned
from regard.attention.multi_head import MultiHeadAttention, Past, SelfAttention
from regard.layers.positional_encoding import Rotary


def torch_attention(module, inputs):
    oracle = nn.MultiheadAttention(8, 2, batch_first=True, dtype=torch.float64)
    oracle.in_proj_weight.data.copy_(torch.cat([linear.weight for linear in inputs]))
    oracle.in_proj_bias.data.copy_(torch.cat([linear.bias for linear in inputs]))
    oracle.out_proj.load_state_dict(module.output.state_dict())
    return oracle


@pytest.fixture
def states():
    return torch.randn(3, 5, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def self_attention():
    module = SelfAttention(8, 2, site="here").double()
    randomise(module)
    return module


MASK = torch.tensor([[True] * 5, [True] * 3 + [False] * 2, [False] * 4 + [True]])


def test_self_attention_equals_torch_s(self_attention, states):
    oracle = torch_attention(self_attention, [self_attention.query_key_value])
    expected, _ = oracle(states, states, states, key_padding_mask=~MASK)
    assert_close(self_attention(states, MASK), expected, rtol=0, atol=1e-12)
    hidden = torch.ones(5, 5, dtype=torch.bool).triu(1)
    expected, _ = oracle(states, states, states, attn_mask=hidden)
    assert_close(self_attention(states, causal=True), expected, rtol=0, atol=1e-12)


def test_attention_to_a_memory_equals_torch_s(states):
    module = MultiHeadAttention(8, 2, site="here").double()
    randomise(module)
    oracle = torch_attention(module, [module.query, module.key_value])
    queries = states.flip(1)[:, :2]
    expected, _ = oracle(queries, states, states, key_padding_mask=~MASK)
    assert_close(module(queries, module.remember(states, MASK)), expected, rtol=0, atol=1e-12)


def test_rotary_self_attention_is_torch_s_of_turned_queries_and_keys(states):
    with float64():
        module = SelfAttention(8, 2, site="here", rotary=Rotary(4))
    randomise(module)
    query, keys, values = (
        part.unflatten(-1, (2, 4)).transpose(1, 2) for part in module.query_key_value(states).chunk(3, -1)
    )
    context = functional.scaled_dot_product_attention(turned(query), turned(keys), values, MASK[:, None, None])
    expected = module.output(context.transpose(1, 2).flatten(2))
    assert_close(module(states, MASK), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("rotary", [False, True])
def test_the_cache_gives_what_causal_attention_gives(rotary, states):
    with float64():
        self_attention = SelfAttention(8, 2, site="here", rotary=Rotary(4) if rotary else None)
    randomise(self_attention)
    expected = self_attention(states, causal=True)
    past = Past(states.new_empty(3, 2, 0, 4), states.new_empty(3, 2, 0, 4))
    for position in range(5):
        context, past = self_attention.step(states[:, position : position + 1], past)
        assert past.keys.shape == past.values.shape == (3, 2, position + 1, 4)
        assert_close(context[:, 0], expected[:, position], rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", [SelfAttention, MultiHeadAttention])
def test_heads_must_divide_the_size(kind):
    with pytest.raises(ValueError, match="3 heads do not divide the model size 8 evenly"):
        kind(8, 3, site="here")


@pytest.mark.parametrize("kind", [SelfAttention, MultiHeadAttention])
def test_without_bias_there_is_none(kind):
    assert all(parameter.ndim == 2 for parameter in kind(8, 2, site="here", bias=False).parameters())
