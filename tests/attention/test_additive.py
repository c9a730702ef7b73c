"""The additive score in blocks: the same numbers and gradients as at once, and never much in memory."""

import pytest
import torch
from torch.testing import assert_close

import regard.attention.additive as additive
from regard.attention.additive import additive_scores

BLOCKS = [1, 50, 200, 10**6]  # units: less than one pair, some queries of a row, some rows, everything


def example(dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    shapes = (3, 2, 5, 8), (3, 2, 4, 8), (8,)
    return [torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype).requires_grad_() for shape in shapes]


def at_once(query, keys, energy):
    return torch.tanh(query.unsqueeze(-2) + keys.unsqueeze(-3)) @ energy


@pytest.mark.parametrize("num_units", BLOCKS)
def test_blocks_of_any_size_give_the_scores_and_gradients_of_the_formula(num_units):
    leaves, others = example(), example()
    scores, expected = additive_scores(*leaves, num_units=num_units), at_once(*others)
    assert_close(scores, expected, rtol=0, atol=1e-12)
    weight = torch.randn(scores.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    (scores * weight).sum().backward()
    (expected * weight).sum().backward()
    for leaf, other in zip(leaves, others, strict=True):
        assert_close(leaf.grad, other.grad, rtol=0, atol=1e-12)


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_scores_of_16_bit_states_are_computed_in_32(dtype, autocast):
    query, keys, energy = example(dtype)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        scores = additive_scores(query, keys, energy)
        scores.sum().backward()
    assert scores.dtype == torch.float32
    assert_close(scores, at_once(query.double(), keys.double(), energy.double()).float(), rtol=0, atol=1e-5)
    assert query.grad.dtype == keys.grad.dtype == energy.grad.dtype == dtype


def test_large_sums_saturate_and_do_not_overflow():
    query, keys, energy = example(torch.float32)
    scores = additive_scores(query * 1e6, keys * -1e6, energy)
    assert_close(scores, at_once(query * 1e6, keys * -1e6, energy))
    scores.sum().backward()
    assert all(tensor.grad.isfinite().all() for tensor in (query, keys, energy))


def test_no_block_is_larger_than_asked_for_and_none_is_kept(monkeypatch):
    sizes, kept, logistic = [], [], additive._logistic

    def measured(*tensors):
        block = logistic(*tensors)
        sizes.append(block.numel())
        return block

    monkeypatch.setattr(additive, "_logistic", measured)
    query, keys, energy = example()
    with torch.autograd.graph.saved_tensors_hooks(lambda t: (kept.append(t.numel()), t)[1], lambda t: t):
        scores = additive_scores(query, keys, energy, num_units=200)
    scores.sum().backward()
    assert max(sizes) <= 200
    assert sum(sizes) == 2 * scores.numel() * energy.numel()  # forward, and again backward
    assert max(kept) <= query.numel()
