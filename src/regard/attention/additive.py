"""The additive score, of all pairs in bounded memory: its hidden layer is never there as a whole, nor kept."""

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from regard.attention.score import Score, Summands
from regard.operations import of_matrices

# Hidden units alive at once. On a CPU they should stay in its second cache; a GPU wants work that fills it.
CPU_UNITS = 1 << 18
GPU_UNITS = 1 << 26


class Additive(Score):
    """e_i = v . tanh(W1 h_i + W2 s) (Bahdanau et al. 2015, A.1.2): a small network, so no fused kernel.

    W1 of the slide is `key_weight`, W2 is `query_weight`, v is `energy`; d3 is `hidden_size`.
    """

    def __init__(self, query_size: int, key_size: int, hidden_size: int) -> None:
        super().__init__()
        self.scale = None
        self.key_weight = nn.Linear(key_size, hidden_size, bias=False)
        self.query_weight = nn.Linear(query_size, hidden_size, bias=False)
        self.energy = nn.Linear(hidden_size, 1, bias=False)

    def project_keys(self, keys: Tensor) -> Tensor:
        """W1 h_i does not depend on the query: computed once a sentence."""
        projected: Tensor = self.key_weight(keys)
        return projected

    def key_flops(self, num_keys: int) -> int:
        """W1 h_i of every key."""
        return of_matrices(self.key_weight, num_keys)

    def flops(self, num_queries: int, num_pairs: int) -> int:
        """W2 s of every query, and v . hidden layer of every pair."""
        return of_matrices(self.query_weight, num_queries) + of_matrices(self.energy, num_pairs)

    def forward(self, query: Tensor, keys: Tensor, bias: Tensor | None = None) -> Tensor:
        """All pairs: E = v . tanh(W2 S + W1 H) + bias, in float32 (`additive_scores`)."""
        scores = additive_scores(self.query_weight(query), keys, self.energy.weight.squeeze(0))
        return scores if bias is None else scores + bias

    def summands(self, query: Tensor, keys: Tensor) -> Summands:
        """v_j tanh((W2 s)_j + (W1 h)_j) for every hidden unit j."""
        return Summands(self.query_weight(query), keys, 1.0, self.energy.weight.squeeze(0))


def additive_scores(
    query: Float[Tensor, "batch heads queries size"],
    keys: Float[Tensor, "batch heads keys size"],
    energy: Float[Tensor, " size"],
    *,
    num_units: int | None = None,
) -> Float[Tensor, "batch heads queries keys"]:
    """Every pair's e = energy . tanh(query + key), in at least float32.

    A processor computes the logistic function five times faster than tanh(x) = 2 logistic(2 x) - 1. There
    are queries * keys * size hidden units: they are made some `num_units` at a time, and again for the gradient.
    """
    if num_units is None:
        num_units = GPU_UNITS if query.is_cuda else CPU_UNITS
    exact = torch.promote_types(query.dtype, torch.float32)
    rows = query.flatten(0, 1).to(exact), keys.flatten(0, 1).to(exact)
    scores: Tensor = _AdditiveScores.apply(*rows, energy.to(exact), num_units)  # type: ignore[no-untyped-call]
    return scores.unflatten(0, query.shape[:2])


class _AdditiveScores(torch.autograd.Function):
    """In the names of the code, logistic l = logistic(2 (q + k)): e = 2 v . l - sum of v, de/dq = 4 v l (1 - l)."""

    @staticmethod
    def forward(context: Any, query: Tensor, keys: Tensor, energy: Tensor, num_units: int) -> Tensor:
        context.save_for_backward(query, keys, energy)
        context.num_units = num_units
        scores = query.new_empty(query.size(0), query.size(1), keys.size(1))
        with torch.autocast(query.device.type, enabled=False):
            for rows, queries in _chunks(scores.shape, num_units // energy.numel()):
                scores[rows, queries] = _logistic(query[rows, queries], keys[rows]) @ energy
            return scores.mul_(2).sub_(energy.sum())

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        query, keys, energy = context.saved_tensors
        to_query, to_keys = torch.empty_like(query), torch.zeros_like(keys)
        to_energy = torch.zeros_like(energy)
        with torch.autocast(query.device.type, enabled=False):
            for rows, queries in _chunks(gradient.shape, context.num_units // energy.numel()):
                logistic = _logistic(query[rows, queries], keys[rows])  # (rows, queries, keys, size)
                here = gradient[rows, queries]
                to_energy += here.reshape(-1) @ logistic.flatten(0, 2)
                slope = torch.ops.aten.sigmoid_backward(here.unsqueeze(-1), logistic)
                to_query[rows, queries] = slope.sum(2)
                to_keys[rows] += slope.sum(1)
            return to_query * (4 * energy), to_keys * (4 * energy), to_energy * 2 - gradient.sum(), None


def _logistic(query: Tensor, keys: Tensor) -> Tensor:
    """Of all pairs, (rows, queries, keys, size)."""
    return (2 * query).unsqueeze(2).add((2 * keys).unsqueeze(1)).sigmoid_()


def _chunks(shape: torch.Size, num_pairs: int) -> Iterator[tuple[slice, slice]]:
    """Cut rows x queries into blocks of about `num_pairs` pairs: whole rows if they fit, else some queries of one."""
    num_rows, num_queries, num_keys = shape
    rows = max(1, num_pairs // max(1, num_queries * num_keys))
    queries = num_queries if rows > 1 else max(1, num_pairs // max(1, num_keys))
    for row in range(0, num_rows, rows):
        for first in range(0, num_queries, max(1, queries)):
            yield slice(row, row + rows), slice(first, first + queries)
