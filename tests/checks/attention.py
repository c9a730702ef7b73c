"""What attention must keep, whatever the score; called by the tests and by the mutation suite."""

import math

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

import regard.attention.attention as attention_module
from checks.making import randomise
from regard.attention.additive import Additive
from regard.attention.attention import Attention
from regard.attention.override import Override, OverridingRecord
from regard.attention.record import AttentionRecord
from regard.attention.score import DotProduct, Multiplicative, ScaledDotProduct, Score
from regard.errors import UsageError

D1, D2, D3 = 5, 3, 7  # keys, queries, hidden layer: all different

SCORES = {
    "dot": lambda: DotProduct(D2, D2),
    "scaled dot": lambda: ScaledDotProduct(D2, D2),
    "multiplicative": lambda: Multiplicative(D2, D1),
    "additive": lambda: Additive(D2, D1, D3),
}
FUSED_TOO = ["dot", "scaled dot", "multiplicative"]


def attention(name: str, dtype: torch.dtype = torch.float64) -> Attention:
    """An attention with random parameters."""
    module = Attention(SCORES[name](), site="here").to(dtype)
    randomise(module)
    return module.eval()


def example(name: str, dtype: torch.dtype = torch.float64, *, heads=2, queries=4):
    """Query, keys, values and a ragged mask; the last row of the mask hides everything but the last key."""
    generator = torch.Generator().manual_seed(7)
    batch, keys, key_size = 3, 4, D2 if "dot" in name else D1

    def normal(length: int, size: int) -> Tensor:
        return torch.randn(batch, heads, length, size, generator=generator).to(dtype)

    mask = torch.ones(batch, keys, dtype=torch.bool)
    mask[1, -2:] = False
    mask[2, :-1] = False
    return normal(queries, D2), normal(keys, key_size), normal(keys, 6), mask


def plain_score(score: Score, query: Tensor, key: Tensor) -> Tensor:
    """The slide's formula for one query s and one key h."""
    if isinstance(score, ScaledDotProduct):
        return query.dot(key) / math.sqrt(len(key))
    if isinstance(score, DotProduct):
        return query.dot(key)
    if isinstance(score, Multiplicative):
        return query @ score.key_weight.weight @ key / math.sqrt(len(query))
    assert isinstance(score, Additive)
    return score.energy.weight[0] @ torch.tanh(score.key_weight.weight @ key + score.query_weight.weight @ query)


def follows_the_formula(name: str) -> None:
    """Scores, weights and context are those of the formulas, pair by pair."""
    module, (query, keys, values, mask), record = attention(name), example(name), AttentionRecord()
    context = module(query, module.remember(keys, values, mask), record=record)
    looked = record.calls("here")[0]
    for row, head, place in [(0, 0, 0), (1, 1, 2), (2, 0, 3)]:
        scores = torch.stack([plain_score(module.score, query[row, head, place], key) for key in keys[row, head]])
        scores = torch.where(mask[row], scores, -torch.inf)
        weights = scores.exp() / scores.exp().sum()
        expected = sum(weight * value for weight, value in zip(weights, values[row, head], strict=True))
        assert_close(looked.scores[row, head, place], scores, rtol=0, atol=1e-12)
        assert_close(looked.weights[row, head, place], weights, rtol=0, atol=1e-12)
        assert_close(context[row, head, place], expected, rtol=0, atol=1e-12)


def fused_equals_explicit(name: str, patch) -> None:
    """Both paths give the same context and gradients, with and without mask and causality, for any beams."""
    query, keys, values, mask = example(name)
    for mask_, causal, beams in [
        (None, False, 1),
        (mask, False, 1),
        (None, True, 1),
        (mask, True, 1),
        (mask, False, 2),
    ]:
        results = []
        for fused_from in (0, 1000):
            patch.setattr(attention_module, "FUSED_FROM", fused_from)
            module = attention(name)
            leaves = [tensor.clone().requires_grad_() for tensor in (query, keys, values)]
            memory = module.remember(leaves[1], leaves[2], mask_)
            context = module(leaves[0].repeat_interleave(beams, 0), memory, causal=causal)
            context.square().sum().backward()
            results.append([context, *(leaf.grad for leaf in leaves)])
        for fused, explicit in zip(*results, strict=True):
            assert_close(fused, explicit, rtol=0, atol=1e-9)


def nothing_to_see_gives_zero(name: str, patch, dtype: torch.dtype = torch.float32) -> None:
    """A query without a key it may attend to: context 0, weights 0, finite gradients; on both paths."""
    query, keys, values, mask = example(name, dtype)
    mask = mask.clone()
    mask[1] = False
    for causal in (False, True):  # row 2 sees the last key only: with causality its first queries see none
        hidden = (~mask[:, None, None, :]).expand(3, 2, 4, 4)
        if causal:
            hidden = hidden | torch.ones(4, 4, dtype=torch.bool).triu(1)
        empty = hidden.all(-1)
        for fused_from in (0, 1000):
            patch.setattr(attention_module, "FUSED_FROM", fused_from)
            module = attention(name, dtype)
            leaves = [tensor.clone().requires_grad_() for tensor in (query, keys, values)]
            context = module(leaves[0], module.remember(leaves[1], leaves[2], mask), causal=causal)
            assert context.isfinite().all(), "NaN in the context"
            assert (context[empty] == 0).all(), "something seen where there is nothing"
            assert (context[~empty] != 0).any()
            context.float().square().sum().backward()
            assert all(leaf.grad.isfinite().all() for leaf in leaves), "NaN in the gradient"
            assert all((leaf.grad[1] == 0).all() for leaf in leaves), "a gradient from nothing"
        record = AttentionRecord()
        module(query, module.remember(keys, values, mask), causal=causal, record=record)
        assert (record.weights("here")[hidden] == 0).all()
        assert (record.calls("here")[0].scores[hidden] == -torch.inf).all()


def huge_scores_stay_hidden(name: str, patch, dtype: torch.dtype = torch.bfloat16) -> None:
    """Masked means masked, even where all real scores are -1e4 or less (a mask of -1e4 or -1e9 in 16 bits fails)."""
    module = attention(name, dtype)
    query = torch.full((1, 1, 1, D2), -200.0, dtype=dtype)
    keys = torch.full((1, 1, 3, D2 if "dot" in name else D1), 200.0, dtype=dtype)
    if name == "multiplicative":
        module.score.key_weight.weight.data.fill_(1.0)
    if name == "additive":
        module.score.energy.weight.data.fill_(-4000.0)
        module.score.key_weight.weight.data.fill_(1.0)
        module.score.query_weight.weight.data.fill_(0.0)
    keys[..., 2, :] = -keys[..., 2, :]  # the masked key would score highest by far
    values = torch.tensor([1.0, 2.0, 1000.0], dtype=dtype).reshape(1, 1, 3, 1)
    mask = torch.tensor([[True, True, False]])
    for fused_from in (0, 1000):
        patch.setattr(attention_module, "FUSED_FROM", fused_from)
        context = module(query, module.remember(keys, values, mask))
        assert_close(context, torch.full_like(context, 1.5))


def scores_have_unit_variance() -> None:
    """Unit-variance queries and keys of any size get unit-variance scores (3.2.1): what the 1/sqrt(d) is for."""
    generator = torch.Generator().manual_seed(0)
    for size in (4, 64, 512):
        query, keys = torch.randn(2, 1, 1, 200, size, generator=generator).unbind(0)
        variance = ScaledDotProduct(size, size)(query, keys).var()
        assert 0.85 < variance < 1.15, f"variance {variance:.2f} at size {size}"


def beams_fold_in_order(name: str) -> None:
    """k beams a sentence, sentence by sentence, see what they would see with the memory repeated for each."""
    module, (query, keys, values, mask) = attention(name), example(name)
    queries = torch.cat([query, query.flip(2), query.roll(1, 2)], 1).reshape(9, 2, 4, D2)  # different beams
    folded, repeated = AttentionRecord(), AttentionRecord()
    memory = module.remember(keys, values, mask)
    context = module(queries, memory, record=folded)
    long = module.remember(*(tensor.repeat_interleave(3, 0) for tensor in (keys, values, mask)))
    assert_close(context, module(queries, long, record=repeated), rtol=0, atol=1e-12)
    assert_close(module(queries, memory), context, rtol=0, atol=1e-12)
    rows = slice(4)  # the memory, which comes after, is not repeated
    for one, other in zip(folded.calls("here")[0][rows], repeated.calls("here")[0][rows], strict=True):
        assert_close(one, other, rtol=0, atol=1e-12)


def the_record_is_what_was_used(name: str) -> None:
    """context = weights . values and weights = softmax(scores), by the very tensors in the record."""
    module, (query, keys, values, mask), record = attention(name), example(name), AttentionRecord()
    context = module(query, module.remember(keys, values, mask), record=record)
    (looked,) = record.calls("here")
    assert_close(looked.context, context, rtol=0, atol=0)
    assert_close(looked.weights @ values, context, rtol=0, atol=1e-12)
    assert_close(looked.scores.softmax(-1), looked.weights, rtol=0, atol=1e-12)
    assert (looked.weights[~mask[:, None, None, :].expand_as(looked.weights)] == 0).all()
    assert_close(looked.weights.sum(-1), torch.ones_like(looked.weights[..., 0]), rtol=0, atol=1e-12)


def summands_add_up(name: str) -> None:
    """The score taken apart is the score: a sum over components of scale q k, or of energy tanh(q + k)."""
    module, (query, keys, values, _), record = attention(name), example(name), AttentionRecord()
    module(query, module.remember(keys, values), record=record)
    looked = record.looked("here")
    query, keys, scale, energy = module.score.summands(looked.query, looked.keys)
    pairs = query[:, :, :, None], keys[:, :, None]
    terms = scale * pairs[0] * pairs[1] if energy is None else energy * (pairs[0] + pairs[1]).tanh()
    assert_close(terms.sum(-1), looked.scores, rtol=0, atol=1e-12)


def an_override_is_used(name: str) -> None:
    """One row of one head is as given, in one pass and step by step, for every beam; the others are as they were."""
    module, (query, keys, values, _) = attention(name), example(name)
    memory = module.remember(keys, values)
    plain = AttentionRecord()
    module(query, memory, record=plain)
    given = torch.tensor([0.25, 0.75], dtype=query.dtype)
    row = torch.tensor([0.25, 0.75, 0.0, 0.0], dtype=query.dtype)
    override = Override("here", 1, 2, given)
    whole, steps, elsewhere = (OverridingRecord(override) for _ in range(3))
    context = module(query, memory, record=whole)
    expected = plain.weights("here").clone()
    expected[:, 1, 2] = row
    assert_close(whole.weights("here"), expected, rtol=0, atol=0)
    assert_close(context, expected @ values, rtol=0, atol=1e-12)
    for place in range(query.size(2)):
        module(query[:, :, place : place + 1].repeat_interleave(2, 0), memory, record=steps)
    stepwise = torch.cat([call.weights for call in steps.calls("here")], 2)
    assert_close(stepwise, expected.repeat_interleave(2, 0), rtol=0, atol=1e-12)
    elsewhere.override = override._replace(site="there")
    module(query, memory, record=elsewhere)
    assert_close(elsewhere.weights("here"), plain.weights("here"), rtol=0, atol=0)
    assert (whole.was_overridden, steps.was_overridden, elsewhere.was_overridden) == (True, True, False)


def an_override_cannot_look_at_what_is_hidden(name: str) -> None:
    """Neither past a mask, nor into the future, nor beyond the last key, nor with a head that is not there."""
    module, (query, keys, values, _) = attention(name), example(name)
    first, last = torch.eye(keys.size(2), dtype=query.dtype)[[0, -1]]
    mask = torch.ones(keys.size(0), keys.size(2), dtype=torch.bool)
    mask[:, 0] = False
    refused = [
        (Override("here", 1, 2, first), mask, False),
        (Override("here", 1, 2, last), None, True),
        (Override("here", 1, 2, torch.cat([first * 0, first])), None, False),
        (Override("here", 9, 2, last), None, False),
    ]
    for override, hiding, causal in refused:
        memory = module.remember(keys, values, hiding)
        queries = query if not causal else query[:, :, :1].expand(-1, -1, keys.size(2), -1)
        with pytest.raises(UsageError, match=r"cannot look there|has the heads"):
            module(queries, memory, causal=causal, record=OverridingRecord(override))
