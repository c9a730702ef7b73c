"""Masks: True = may attend, everywhere. Before the softmax they become what is added to the scores: 0 or -inf."""

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from regard.symbols import PAD


class Hiding(NamedTuple):
    """A mask made ready for the scores, once a memory.

    `bias` is 0 where a query may attend and -inf (never a mere large number) where it may not. A query
    without any key has a bias of 0 and is marked in `empty` instead: its context shall be 0, and a softmax
    over nothing but -inf would be NaN, forward and backward. `empty` is None where it is known that
    there is no such query.
    """

    bias: Float[Tensor, "#batch 1 #queries keys"]
    empty: Bool[Tensor, "#batch 1 #queries 1"] | None


def padding_mask(tokens: Int[Tensor, "batch length"]) -> Bool[Tensor, "batch length"]:
    """True at real tokens, False at padding."""
    return tokens != PAD


def causal_mask(length: int, device: torch.device) -> Bool[Tensor, "length length"]:
    """Query i may see keys 0..i: the future is "-inf" (Vaswani et al. 2017, 3.2.3)."""
    return torch.ones(length, length, dtype=torch.bool, device=device).tril()


def hide(allowed: Bool[Tensor, "#batch 1 #queries keys"], like: Tensor) -> Hiding:
    """The `Hiding` of a mask, in the number format and on the device of `like`."""
    empty = ~allowed.any(-1, keepdim=True)
    bias = torch.zeros_like(allowed, dtype=like.dtype).masked_fill_(~(allowed | empty), -math.inf)
    # To ask "is there any?" is free on a CPU, but would stop a GPU's queue.
    return Hiding(bias, empty if like.is_cuda or bool(empty.any()) else None)
