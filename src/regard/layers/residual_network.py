"""A residual network: convolutions that learn what to add to their input (He et al. 2016), as an image encoder.

picture -> stem -> stages of blocks, y = relu(x + F(x)) -> (batch, size, rows, columns). Every stage after the first
halves rows and columns.
"""

from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from regard.config import base
from regard.layers.batch_norm import BatchNorm

BlockName = Literal["basic", "bottleneck"]
StemName = Literal["large", "small"]
_REDUCTION = 4  # a bottleneck's inner width is a quarter of its outer


class ResidualNetworkConfig(base.Config):
    """A residual network, trained from scratch. ResNet-50 is `widths` 256 to 2048, `depths` 3, 4, 6, 3, bottlenecks.

    The `large` stem (7 x 7, then a maximum over 3 x 3) makes a quarter of rows and columns, for photographs; the
    `small` one (3 x 3) a half, for pictures of some 32 to 96 pixels.
    """

    kind: Literal["resnet"] = "resnet"
    stem: StemName = "small"
    stem_width: int = Field(32, ge=1)
    block: BlockName = "basic"
    widths: list[int] = Field([32, 64, 128], min_length=1)
    depths: list[int] = Field([1, 1, 1], min_length=1)
    coordinates: bool = False  # two more input channels: x and y of every pixel, -1 to 1 (Liu et al. 2018)

    @model_validator(mode="after")
    def _fits_together(self) -> "ResidualNetworkConfig":
        if len(self.widths) != len(self.depths):
            raise ValueError(f"every stage has a width and a depth, but there are {self.widths} and {self.depths}")
        if min(*self.widths, *self.depths) < 1:
            raise ValueError("widths and depths are at least 1")
        if self.block == "bottleneck" and any(width % _REDUCTION for width in self.widths):
            raise ValueError(f"the widths of bottlenecks are multiples of {_REDUCTION}, but they are {self.widths}")
        return self


class Block(nn.Module):
    """y = relu(shortcut(x) + F(x)); the shortcut is the identity, or a 1 x 1 convolution where the shape changes."""

    def __init__(self, kind: BlockName, inputs: int, outputs: int, *, stride: int) -> None:
        super().__init__()
        self.stride = stride
        if kind == "basic":
            self.convolutions = nn.ModuleList(
                [_convolution(inputs, outputs, 3, stride), _convolution(outputs, outputs, 3)]
            )
        else:
            inner = outputs // _REDUCTION
            self.convolutions = nn.ModuleList(
                [_convolution(inputs, inner, 1), _convolution(inner, inner, 3, stride), _convolution(inner, outputs, 1)]
            )
        changes = stride != 1 or inputs != outputs
        self.shortcut = _convolution(inputs, outputs, 1, stride) if changes else nn.Identity()

    def forward(self, volume: Float[Tensor, "batch inputs rows columns"]) -> Tensor:
        """(batch, outputs, rows / stride, columns / stride), rounded up."""
        added = volume
        for place, convolution in enumerate(self.convolutions):
            added = convolution(added if place == 0 else functional.relu(added))
        return functional.relu(self.shortcut(volume) + added)

    def flops(self, number: int, rows: int, columns: int) -> int:
        """Operations on so many volumes (rows, columns)."""
        total = 0
        if isinstance(self.shortcut, nn.Sequential):
            total += of_convolution(_first(self.shortcut), number, rows, columns)
        for layer in self.convolutions:
            convolution = _first(layer)
            total += of_convolution(convolution, number, rows, columns)
            rows, columns = -(-rows // convolution.stride[0]), -(-columns // convolution.stride[1])
        return total


class ResidualNetwork(nn.Module):
    """Stem and stages; what a classifier would pool is the encoder's volume."""

    def __init__(self, config: ResidualNetworkConfig, channels: int) -> None:
        super().__init__()
        self.coordinates = config.coordinates
        channels += 2 * config.coordinates
        kernel_size = 7 if config.stem == "large" else 3
        self.stem = _convolution(channels, config.stem_width, kernel_size, 2)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1) if config.stem == "large" else nn.Identity()
        self.blocks = nn.Sequential(*_blocks(config))
        self.size = config.widths[-1]
        self.num_halvings = len(config.widths) + (config.stem == "large")

    def forward(self, pictures: Float[Tensor, "batch channels height width"]) -> Tensor:
        """The last stage's volume, (batch, size, rows, columns)."""
        if self.coordinates:
            pictures = with_coordinates(pictures)
        volume: Tensor = self.blocks(self.pool(functional.relu(self.stem(pictures))))
        return volume

    def flops(self, number: int, height: int, width: int) -> int:
        """Operations on so many pictures."""
        total = of_convolution(_first(self.stem), number, height, width)
        rows, columns = _half(height), _half(width)
        if isinstance(self.pool, nn.MaxPool2d):
            rows, columns = _half(rows), _half(columns)
        for block in self.blocks:
            assert isinstance(block, Block)
            total += block.flops(number, rows, columns)
            if block.stride == 2:
                rows, columns = _half(rows), _half(columns)
        return total


def of_convolution(convolution: nn.Conv2d, number: int, rows: int, columns: int) -> int:
    """Operations of a convolution whose padding makes n pixels n / stride, on so many volumes (rows, columns)."""
    down, across = convolution.stride
    return 2 * number * -(-rows // down) * -(-columns // across) * convolution.weight.numel()


def _half(length: int) -> int:
    return (length + 1) // 2


def _first(layer: nn.Module) -> nn.Conv2d:
    assert isinstance(layer, nn.Sequential)
    convolution = layer[0]
    assert isinstance(convolution, nn.Conv2d)
    return convolution


def with_coordinates(pictures: Float[Tensor, "batch channels height width"]) -> Tensor:
    """Two channels more: how far to the right and how far down a pixel is, from -1 to 1."""
    batch, _, height, width = pictures.shape
    across = torch.linspace(-1, 1, width).to(pictures).expand(batch, 1, height, width)
    down = torch.linspace(-1, 1, height).to(pictures)[:, None].expand(batch, 1, height, width)
    return torch.cat([pictures, across, down], 1)


def _blocks(config: ResidualNetworkConfig) -> list[Block]:
    blocks, inputs = [], config.stem_width
    for stage, (width, depth) in enumerate(zip(config.widths, config.depths, strict=True)):
        for place in range(depth):
            blocks.append(Block(config.block, inputs, width, stride=2 if stage > 0 and place == 0 else 1))
            inputs = width
    return blocks


def _convolution(inputs: int, outputs: int, kernel_size: int, stride: int = 1) -> nn.Sequential:
    """Convolution and batch normalisation, which has the bias."""
    convolution = nn.Conv2d(inputs, outputs, kernel_size, stride, padding=kernel_size // 2, bias=False)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(convolution, BatchNorm(outputs))
