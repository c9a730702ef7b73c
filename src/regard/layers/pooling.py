"""From the states of all words to one vector: the last state, the greatest values, the mean, or all three."""

import math
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

PoolingName = Literal["last", "max", "mean", "concat"]


class Read(NamedTuple):
    """What a reader made of the words: a state each, and, where it reads in order, the state after the last word."""

    states: Float[Tensor, "batch length size"]
    last: Float[Tensor, "batch size"] | None = None


def max_over_time(
    states: Float[Tensor, "batch length size"], mask: Bool[Tensor, "batch length"]
) -> Float[Tensor, "batch size"]:
    """The greatest value of every feature among the real words (Collobert and Weston 2008; Kim 2014)."""
    return states.masked_fill(~mask.unsqueeze(-1), -math.inf).amax(1)


def mean_over_time(
    states: Float[Tensor, "batch length size"], mask: Bool[Tensor, "batch length"]
) -> Float[Tensor, "batch size"]:
    """The mean over the real words."""
    return states.masked_fill(~mask.unsqueeze(-1), 0.0).sum(1) / mask.sum(1, keepdim=True)


def pool(name: PoolingName, read: Read, mask: Bool[Tensor, "batch length"]) -> Float[Tensor, "batch pooled_size"]:
    """One vector a text; `concat` is [last; max; mean] (Howard and Ruder 2018, 3.3). Every text has a real word."""
    parts = []
    if name in ("last", "concat"):
        assert read.last is not None, "this reader has no last state"
        parts.append(read.last)
    if name in ("max", "concat"):
        parts.append(max_over_time(read.states, mask))
    if name in ("mean", "concat"):
        parts.append(mean_over_time(read.states, mask))
    return torch.cat(parts, -1)
