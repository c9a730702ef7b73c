"""Attention whose query is learnt once for all texts: it weighs the words and gives one vector (Yang et al. 2016)."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from regard.attention.attention import Attention
from regard.attention.record import AttentionRecord
from regard.attention.score import DotProduct
from regard.operations import of_matrices


class AttentionPooling(nn.Module):
    """Weights = softmax(u . tanh(W h_t + b)), vector = sum of weights times h_t, with a learnt u (eqs. 5 to 7)."""

    def __init__(self, size: int, *, site: str) -> None:
        """`size` is that of a state, `site` the name under which a record keeps the weights."""
        super().__init__()
        self.attention = Attention(DotProduct(size, size), site=site)
        self.key = nn.Linear(size, size)
        self.query = nn.Parameter(torch.randn(size) / math.sqrt(size))

    def forward(
        self,
        states: Float[Tensor, "batch length size"],
        mask: Bool[Tensor, "batch length"],
        record: AttentionRecord | None = None,
    ) -> Float[Tensor, "batch size"]:
        """One vector a text."""
        memory = self.attention.remember(torch.tanh(self.key(states)).unsqueeze(1), states.unsqueeze(1), mask)
        query = self.query.repeat(states.size(0), 1, 1, 1)
        context: Tensor = self.attention(query, memory, record=record)
        return context[:, 0, 0]

    def flops(self, rows: int, length: int) -> int:
        """Operations on so many texts, padded to `length`."""
        return of_matrices(self.key, rows * length) + self.attention.flops(rows, 1, length, self.query.numel())
