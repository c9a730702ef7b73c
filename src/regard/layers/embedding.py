"""From token ids to vectors."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional


class Embedding(nn.Module):
    """One row of `weight` a token, drawn from N(0, 1/size), so that the same matrix can be the readout's.

    `scale` multiplies what is looked up: sqrt(size) gives components of unit variance, beside which the
    sines of a position encoding are neither drowned nor drowning (Vaswani et al. 2017, 3.4).
    """

    def __init__(self, num_tokens: int, size: int, *, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = scale
        self.weight = nn.Parameter(torch.empty(num_tokens, size))
        nn.init.normal_(self.weight, std=1 / math.sqrt(size))

    def forward(self, tokens: Int[Tensor, "*batch"]) -> Float[Tensor, "*batch size"]:
        """The vectors of `tokens`, times `scale`."""
        looked_up = functional.embedding(tokens, self.weight)
        return looked_up if self.scale == 1 else looked_up * self.scale
