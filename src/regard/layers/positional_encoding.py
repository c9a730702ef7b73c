"""Where a token stands, because attention itself knows no order.

Added to its embedding (Vaswani et al. 2017, 3.5), or told to attention by turning queries and keys (Su et al. 2021).
"""

import math
from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor, nn

from regard.errors import DataError

_TABLE_LENGTH = 512


def sinusoids(start: int, stop: int, size: int) -> Float[Tensor, "length size"]:
    """PE(pos, 2i) = sin(pos / 10000^(2i/d)), PE(pos, 2i+1) = cos(…) of the same, start <= pos < stop, in float64."""
    positions = torch.arange(start, stop, dtype=torch.float64)[:, None]
    wavelengths = 10000 ** (torch.arange(0, size, 2, dtype=torch.float64) / size)
    angles = positions / wavelengths
    return torch.stack([angles.sin(), angles.cos()], -1).flatten(1)[:, :size]


class Positions(nn.Module, ABC):
    """A vector for every position from 0 on."""

    @abstractmethod
    def encode(self, start: int, stop: int) -> Float[Tensor, "length size"]:
        """The vectors of the positions start .. stop - 1."""

    def forward(self, embedded: Float[Tensor, "batch length size"], *, start: int = 0) -> Tensor:
        """Add to each token's embedding the vector of its position; the first stands at `start`."""
        return embedded + self.encode(start, start + embedded.size(1)).to(embedded.dtype)


class Sinusoidal(Positions):
    """Fixed sines and cosines; a table up to some length, computed beyond it, so there is no longest sentence."""

    table: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        table = sinusoids(0, _TABLE_LENGTH, size).to(torch.get_default_dtype())
        self.register_buffer("table", table, persistent=False)

    def encode(self, start: int, stop: int) -> Tensor:
        """Sines at even components, cosines at odd ones."""
        if stop <= len(self.table):
            return self.table[start:stop]
        return sinusoids(start, stop, self.size).to(self.table)


class Learned(Positions):
    """One trained vector a position, N(0, 1/size) at first; nothing is known of positions beyond `max_length`."""

    def __init__(self, size: int, max_length: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(max_length, size))
        nn.init.normal_(self.weight, std=1 / math.sqrt(size))

    def encode(self, start: int, stop: int) -> Tensor:
        """Rows of the trained table.

        Raises:
            DataError: the text is longer than the table.
        """
        if stop > len(self.weight):
            raise DataError(
                f"a text of {stop} tokens, but this model has learned positions for {len(self.weight)} only; "
                "shorten or split it, or train with a larger `model.max_length` or, where there is the choice, "
                "with sinusoidal positions"
            )
        return self.weight[start:stop]


class Rotary(nn.Module):
    """Turns every pair of components by the position's angle, so that a score depends on how far apart two tokens are.

    Components 2i and 2i + 1 of a vector at position p are a complex number, times e^(j p / 10000^(2i/size)).
    In float32 at least: that is more exact than 16 bits would be, and on a CPU faster.
    """

    def __init__(self, size: int) -> None:
        """Raises `ValueError` unless `size`, of one head, is even."""
        super().__init__()
        if size % 2:
            raise ValueError(f"rotary positions turn pairs of components, but a head has {size}")
        self.sinusoidal = Sinusoidal(size)

    def forward(self, vectors: Float[Tensor, "*batch length size"], *, start: int = 0) -> Tensor:
        """Turn each vector by its position; the first stands at `start`."""
        exact = torch.promote_types(vectors.dtype, torch.float32)
        pairs = torch.view_as_complex(vectors.to(exact).unflatten(-1, (-1, 2)))
        sines = self.sinusoidal.encode(start, start + vectors.size(-2)).to(exact)
        turns = torch.view_as_complex(sines.unflatten(-1, (-1, 2)).flip(-1))  # cosine + j sine
        return torch.view_as_real(pairs * turns).flatten(-2).to(vectors.dtype)
