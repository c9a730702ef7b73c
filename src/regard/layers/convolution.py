"""Convolution over pictures: filters that are moved over the pixels in strides (LeCun et al. 1998, section 2)."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional


class Convolution(nn.Module):
    """y[f, i, j] = b[f] + sum over c, u, v of W[f, c, u, v] x[c, i stride + u - padding, j stride + v - padding].

    x is 0 beyond its edges. The filter is not turned round, so this is what mathematics calls cross-correlation; for
    filters that are learnt the two are the same. W starts uniform within sqrt(6 / inputs), which keeps the variance of
    ReLUs (He et al. 2015), b at 0.
    """

    def __init__(self, channels: int, filters: int, *, width: int, stride: int = 1, padding: int = 0) -> None:
        super().__init__()
        self.width, self.stride, self.padding = width, stride, padding
        self.weight = nn.Parameter(torch.empty(filters, channels, width, width))
        self.bias = nn.Parameter(torch.zeros(filters))
        bound = math.sqrt(6 / (channels * width * width))
        nn.init.uniform_(self.weight, -bound, bound)

    def forward(self, volume: Float[Tensor, "batch channels rows columns"]) -> Tensor:
        """(batch, filters, rows', columns') with the sides of `side`."""
        return functional.conv2d(volume, self.weight, self.bias, stride=self.stride, padding=self.padding)

    def side(self, side: int) -> int:
        """How many places a filter has along a side of so many pixels; 0 or less where it does not fit."""
        return (side + 2 * self.padding - self.width) // self.stride + 1

    def flops(self, batch: int, rows: int, columns: int) -> int:
        """Operations on so many pictures of so many pixels: every place meets every weight once."""
        return 2 * batch * self.side(rows) * self.side(columns) * self.weight.numel()

    def extra_repr(self) -> str:
        """Shown by `print(model)`."""
        filters, channels = self.weight.shape[:2]
        return f"{channels}, {filters}, width={self.width}, stride={self.stride}, padding={self.padding}"
