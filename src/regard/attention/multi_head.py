"""Several attentions side by side, each on its own projection of query, key and value (Vaswani et al. 2017, 3.2.2).

concat(head_1 .. head_h) W^O with head_i = Attention(Q W_i^Q, K W_i^K, V W_i^V): the h projections lie side
by side in one matrix, and what is projected together is one matrix product.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from regard.attention.attention import Attention, Memory
from regard.attention.record import AttentionRecord
from regard.attention.score import ScaledDotProduct
from regard.operations import of_matrices


class Past(NamedTuple):
    """Projected keys and values of the positions that a decoder has been at: the cache, one position longer a step."""

    keys: Float[Tensor, "rows heads past head_size"]
    values: Float[Tensor, "rows heads past head_size"]


class SelfAttention(nn.Module):
    """Every position asks all positions of the same sequence: Q = K = V = states.

    `rotary`, such as `positional_encoding.Rotary(head_size)`, turns queries and keys by their position; without it only
    the states themselves can tell where they stand.
    """

    def __init__(
        self,
        size: int,
        num_heads: int,
        *,
        site: str,
        dropout: float = 0.0,
        bias: bool = True,
        rotary: nn.Module | None = None,
    ) -> None:
        """Raises `ValueError` unless `num_heads` divides `size`."""
        super().__init__()
        self.num_heads = num_heads
        self.query_key_value = nn.Linear(size, 3 * size, bias=bias)
        self.output = nn.Linear(size, size, bias=bias)
        self.attention = _attention(size, num_heads, site, dropout)
        self.rotary = rotary

    def forward(
        self,
        states: Float[Tensor, "batch length size"],
        mask: Bool[Tensor, "batch length"] | None = None,
        *,
        causal: bool = False,
        record: AttentionRecord | None = None,
    ) -> Float[Tensor, "batch length size"]:
        """All positions at once."""
        query, keys, values = self._project(states, start=0)
        memory = self.attention.remember(keys, values, mask)
        joined: Tensor = self.output(_join(self.attention(query, memory, causal=causal, record=record)))
        return joined

    def flops(self, rows: int, length: int) -> int:
        """Operations of `forward` on `rows` sequences."""
        projected = of_matrices(self.query_key_value, rows * length) + of_matrices(self.output, rows * length)
        head_size = self.output.in_features // self.num_heads
        return projected + self.attention.flops(rows * self.num_heads, length, length, head_size)

    def step(
        self, state: Float[Tensor, "rows 1 size"], past: Past, *, record: AttentionRecord | None = None
    ) -> tuple[Float[Tensor, "rows 1 size"], Past]:
        """The next position asks the past and itself; the past with the position added."""
        query, key, value = self._project(state, start=past.keys.size(2))
        past = Past(torch.cat([past.keys, key], 2), torch.cat([past.values, value], 2))
        joined: Tensor = self.output(_join(self.attention(query, Memory(past.keys, past.values), record=record)))
        return joined, past

    def _project(self, states: Tensor, *, start: int) -> tuple[Tensor, ...]:
        """Queries, keys and values, (batch, heads, length, head_size), of positions from `start` on."""
        query, keys, values = _heads(self.query_key_value(states), 3, self.num_heads)
        if self.rotary is not None:
            query, keys = self.rotary(query, start=start), self.rotary(keys, start=start)
        return query, keys, values


class MultiHeadAttention(nn.Module):
    """States ask a memory made of other states: queries from the decoder, keys and values from the encoder."""

    def __init__(self, size: int, num_heads: int, *, site: str, dropout: float = 0.0, bias: bool = True) -> None:
        """Raises `ValueError` unless `num_heads` divides `size`."""
        super().__init__()
        self.num_heads = num_heads
        self.query = nn.Linear(size, size, bias=bias)
        self.key_value = nn.Linear(size, 2 * size, bias=bias)
        self.output = nn.Linear(size, size, bias=bias)
        self.attention = _attention(size, num_heads, site, dropout)

    def remember(
        self, states: Float[Tensor, "batch length size"], mask: Bool[Tensor, "batch length"] | None = None
    ) -> Memory:
        """Project `states` to keys and values, once for all queries."""
        keys, values = _heads(self.key_value(states), 2, self.num_heads)
        return self.attention.remember(keys, values, mask)

    def forward(
        self,
        states: Float[Tensor, "rows queries size"],
        memory: Memory,
        *,
        record: AttentionRecord | None = None,
    ) -> Float[Tensor, "rows queries size"]:
        """Every state asks the memory; the heads' answers are joined and mixed by W^O."""
        (query,) = _heads(self.query(states), 1, self.num_heads)
        joined: Tensor = self.output(_join(self.attention(query, memory, record=record)))
        return joined

    def flops(self, rows: int, queries: int, keys: int) -> int:
        """Operations of `remember` and `forward`."""
        projected = of_matrices(self.query, rows * queries) + of_matrices(self.key_value, rows * keys)
        head_size = self.output.in_features // self.num_heads
        looked = self.attention.flops(rows * self.num_heads, queries, keys, head_size)
        return projected + looked + of_matrices(self.output, rows * queries)


def _attention(size: int, num_heads: int, site: str, dropout: float) -> Attention:
    if size % num_heads:
        raise ValueError(f"{num_heads} heads do not divide the model size {size} evenly")
    head_size = size // num_heads
    return Attention(ScaledDotProduct(head_size, head_size), site=site, dropout=dropout)


def _heads(projected: Tensor, parts: int, num_heads: int) -> tuple[Tensor, ...]:
    """Cut (batch, length, parts * size) into `parts` tensors (batch, heads, length, head_size)."""
    cut: tuple[Tensor, ...] = projected.unflatten(-1, (parts, num_heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
    return cut


def _join(context: Tensor) -> Tensor:
    return context.transpose(1, 2).flatten(2)  # (batch, length, heads * head_size)
