"""One attention, any score: formulas, masks, both paths, beams, precision, records."""

import math

import pytest
import torch
from torch.nn import functional
from torch.testing import assert_close

import regard.attention.attention as attention_module
from checks import attention as checks
from regard.attention.additive import Additive
from regard.attention.attention import Attention
from regard.attention.mask import causal_mask, hide, padding_mask
from regard.attention.record import AttentionRecord
from regard.attention.score import DotProduct, Multiplicative, ScaledDotProduct

every_score = pytest.mark.parametrize("name", checks.SCORES)


@every_score
def test_scores_weights_and_context_follow_the_formula(name):
    checks.follows_the_formula(name)


@every_score
def test_the_fused_path_equals_the_explicit_one(name, monkeypatch):
    checks.fused_equals_explicit(name, monkeypatch)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
@every_score
def test_a_query_that_may_see_nothing_gets_zero(name, dtype, monkeypatch):
    checks.nothing_to_see_gives_zero(name, monkeypatch, dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@every_score
def test_huge_scores_do_not_unmask(name, dtype, monkeypatch):
    checks.huge_scores_stay_hidden(name, monkeypatch, dtype)


@every_score
def test_beams_are_folded_sentence_by_sentence(name):
    checks.beams_fold_in_order(name)


@every_score
def test_the_record_is_what_was_used(name):
    checks.the_record_is_what_was_used(name)


@every_score
def test_a_score_taken_apart_adds_up(name):
    checks.summands_add_up(name)


@every_score
def test_an_overridden_row_is_used(name):
    checks.an_override_is_used(name)


@every_score
def test_an_override_cannot_look_at_what_is_hidden(name):
    checks.an_override_cannot_look_at_what_is_hidden(name)


def test_scaled_scores_have_unit_variance():
    checks.scores_have_unit_variance()


@every_score
def test_gradients_are_those_of_finite_differences(name):
    module = checks.attention(name)
    query, keys, values, mask = checks.example(name, queries=2, heads=1)
    parameters = list(module.parameters())

    def context(query, keys, values, *_):
        return module(query, module.remember(keys, values, mask))

    inputs = [tensor.requires_grad_() for tensor in (query, keys, values)]
    assert torch.autograd.gradcheck(context, (*inputs, *parameters), eps=1e-6, atol=1e-6)


@pytest.mark.parametrize("score", [DotProduct, ScaledDotProduct])
def test_a_dot_product_needs_one_size(score):
    with pytest.raises(ValueError, match=r"one size, but they are 3 and 5; take the multiplicative or the additive"):
        score(3, 5)


@pytest.mark.parametrize("score", [Multiplicative(3, 5), Additive(3, 5, 7)])
def test_other_scores_take_different_sizes(score):
    assert score(torch.randn(2, 1, 4, 3), score.project_keys(torch.randn(2, 1, 6, 5))).shape == (2, 1, 4, 6)


def test_dot_product_attention_equals_torch_s():
    query, keys, values, mask = checks.example("dot")
    for score, scale in ((DotProduct(3, 3), 1.0), (ScaledDotProduct(3, 3), None)):
        module = Attention(score, site="here")
        expected = functional.scaled_dot_product_attention(
            query, keys, values, attn_mask=mask[:, None, None, :], scale=scale
        )
        assert_close(module(query, module.remember(keys, values, mask)), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_softmax_is_taken_in_float32(dtype):
    scores = 8 * torch.randn(50, 300, generator=torch.Generator().manual_seed(0)).to(dtype)
    module = Attention(DotProduct(300, 300), site="here")
    record = AttentionRecord()
    memory = module.remember(torch.eye(300, dtype=dtype)[None, None], torch.zeros(1, 1, 300, 1, dtype=dtype))
    module(scores[None, None], memory, record=record)  # the keys are unit vectors: the query is the scores
    assert_close(record.weights("here")[0, 0], scores.softmax(-1, dtype=torch.float32).to(dtype), rtol=0, atol=0)


def test_dropped_weights_are_the_ones_recorded():
    module = Attention(DotProduct(3, 3), site="here", dropout=0.5)
    query, keys, values, _ = checks.example("dot")
    record = AttentionRecord()
    context = module(query, module.remember(keys, values), record=record)
    weights = record.weights("here")
    assert (weights == 0).any()
    assert_close(weights @ values, context)


def test_short_sequences_are_explicit_and_long_ones_fused(monkeypatch):
    calls = []
    fused = functional.scaled_dot_product_attention
    monkeypatch.setattr(functional, "scaled_dot_product_attention", lambda *a, **k: calls.append(1) or fused(*a, **k))
    module = Attention(DotProduct(3, 3), site="here")
    many, few = attention_module.FUSED_FROM, attention_module.FUSED_FROM - 1
    for num_queries, num_keys, num_calls in ((many, few, 0), (few, many, 0), (many, many, 1)):
        query, keys = torch.randn(1, 1, num_queries, 3), torch.randn(1, 1, num_keys, 3)
        module(query, module.remember(keys, keys))
        assert len(calls) == num_calls
    module(query, module.remember(keys, keys), record=AttentionRecord())
    assert len(calls) == 1  # whoever looks wants the softmax's own result


def test_what_is_hidden_is_minus_infinity():
    allowed = torch.tensor([[True, False], [False, False]])[:, None, None, :]
    hiding = hide(allowed, torch.empty(0, dtype=torch.bfloat16))
    assert hiding.bias.dtype == torch.bfloat16
    assert hiding.bias.flatten().tolist() == [0.0, -math.inf, 0.0, 0.0]
    assert hiding.empty is not None
    assert hiding.empty.flatten().tolist() == [False, True]
    assert hide(allowed[:1], torch.empty(0)).empty is None


def test_masks_are_true_where_attention_is_allowed():
    assert padding_mask(torch.tensor([[5, 3, 0]])).tolist() == [[True, True, False]]
    assert causal_mask(3, torch.device("cpu")).tolist() == [[True, False, False], [True, True, False], [True] * 3]


def test_a_record_knows_its_sites_and_refuses_to_guess():
    record = AttentionRecord()
    tensor = torch.zeros(1, 1, 1, 1)
    record.add("a", tensor, tensor, tensor)
    record.add("b", tensor, tensor, tensor)
    record.add("b", tensor, tensor, tensor)
    assert record.calls("c") == []
    assert record.sites == ["a", "b"]
    assert record.weights("a") is tensor
    assert len(record.calls("b")) == 2
    for site, times in (("b", 2), ("c", 0)):
        with pytest.raises(ValueError, match=f"'{site}' was used {times} times; recorded sites: \\['a', 'b'\\]"):
            record.weights(site)
