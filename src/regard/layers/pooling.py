"""From the states of all words to one vector: the last state, the greatest values, the mean, or by attention."""

import math
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from regard.attention.attention import Attention
from regard.attention.record import AttentionRecord
from regard.attention.score import DotProduct

PoolingName = Literal["last", "max", "mean", "concat", "attention"]


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


class Pooling(nn.Module):
    """By `name`: `last`, `max`, `mean`, all three behind each other (`concat`, Howard and Ruder 2018), or `attention`.

    Attention has one learnt query u: weights = softmax(u . tanh(W h + b)), and the text is the weighted sum of its
    words' h (Yang et al. 2016, eqs. 5-7). It looks at the site `pool`.
    """

    def __init__(self, name: PoolingName, size: int) -> None:
        """`size` is that of a state."""
        super().__init__()
        self.name = name
        self.size = 3 * size if name == "concat" else size
        if name == "attention":
            self.attention = Attention(DotProduct(size, size), site="pool")
            self.key = nn.Linear(size, size)
            self.query = nn.Parameter(torch.randn(size) / math.sqrt(size))

    def forward(
        self, read: Read, mask: Bool[Tensor, "batch length"], record: AttentionRecord | None = None
    ) -> Float[Tensor, "batch pooled_size"]:
        """One vector a text; every text has at least one real word."""
        if self.name == "attention":
            return self._attend(read.states, mask, record)
        parts = []
        if self.name in ("last", "concat"):
            assert read.last is not None, "this reader has no last state"
            parts.append(read.last)
        if self.name in ("max", "concat"):
            parts.append(max_over_time(read.states, mask))
        if self.name in ("mean", "concat"):
            parts.append(mean_over_time(read.states, mask))
        return torch.cat(parts, -1)

    def _attend(self, states: Tensor, mask: Tensor, record: AttentionRecord | None) -> Tensor:
        memory = self.attention.remember(torch.tanh(self.key(states)).unsqueeze(1), states.unsqueeze(1), mask)
        query = self.query.expand(states.size(0), 1, 1, -1)
        context: Tensor = self.attention(query, memory, record=record)
        return context[:, 0, 0]
