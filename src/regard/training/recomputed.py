"""Sums over rows of what is made of their logits, a few rows at a time, made again for the gradient."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

Term = Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor]


def sum_of_rows(
    term: Term,
    one: Float[Tensor, "rows size"],
    other: Float[Tensor, "rows other_size"],
    readout: nn.Linear,
    *,
    rows: int,
) -> Float[Tensor, ""]:
    """Sum of term(one, other, weight, bias) over parts of so many rows; `term` draws no random numbers."""
    total = one.new_zeros((), dtype=torch.promote_types(one.dtype, torch.float32))
    for left, right in zip(one.split(rows), other.split(rows), strict=True):
        part = checkpoint(
            term, left, right, readout.weight, readout.bias, use_reentrant=False, preserve_rng_state=False
        )
        total = total + part
    return total
