"""What is on a picture: fully connected, or convolutions read as a whole or by soft attention (LeCun et al. 1998).

picture -> convolutions -> volume of regions -> one vector -> hidden layers -> logits of the classes. Without
convolutions the pixels themselves are the vector. With `pooling: volume` the vector is the whole volume, every region
alike; with `pooling: attention` it is the sum of weights times regions, weights = softmax(q . h_i) with a learnt q, and
`record` keeps the weights under `pooling`, row by row of the picture.
"""

import math
from itertools import pairwise
from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from regard.attention.attention import Attention
from regard.attention.record import AttentionRecord
from regard.attention.score import DotProduct
from regard.config import base
from regard.errors import UsageError
from regard.layers.convolution import Convolution
from regard.layers.dropout import Dropout
from regard.layers.stack import Stack
from regard.operations import of_matrices
from regard.protocol import Batch, Dimensions, Model, Output

READS_PICTURES = True
SITE = "pooling"


class ConvolutionConfig(base.Config):
    """`filters` of `width` x `width`, a ReLU, and the largest of every `pool` x `pool` values."""

    filters: int = Field(32, ge=1)
    width: int = Field(3, ge=1)
    stride: int = Field(1, ge=1)
    padding: int | None = Field(None, ge=0)  # zeros around the edge; None: width // 2
    pool: int = Field(1, ge=1)


class Config(base.Config):
    """Without `convolutions` the network is fully connected. `hidden` are the sizes of its hidden layers."""

    kind: Literal["image_classifier"] = "image_classifier"
    convolutions: list[ConvolutionConfig] = Field([])
    pooling: Literal["volume", "attention"] = "volume"
    hidden: list[int] = Field([256, 256])
    dropout: float = Field(0.0, ge=0, lt=1)  # of the vector, and of every hidden layer

    @model_validator(mode="after")
    def _fits_together(self) -> "Config":
        if self.pooling == "attention" and not self.convolutions:
            raise ValueError("pooling attention weighs regions, which only convolutions make; give some")
        if any(size < 1 for size in self.hidden):
            raise ValueError(f"hidden layers have at least one unit, but hidden is {self.hidden}")
        return self


class Block(nn.Module):
    """Convolution, ReLU, maximum."""

    def __init__(self, config: ConvolutionConfig, channels: int) -> None:
        super().__init__()
        padding = config.width // 2 if config.padding is None else config.padding
        self.convolution = Convolution(
            channels, config.filters, width=config.width, stride=config.stride, padding=padding
        )
        self.pool = config.pool

    def forward(self, volume: Float[Tensor, "batch channels rows columns"]) -> Tensor:
        """(batch, filters, rows', columns')."""
        convolved = functional.relu(self.convolution(volume))
        return convolved if self.pool == 1 else functional.max_pool2d(convolved, self.pool)

    def sides(self, rows: int, columns: int) -> tuple[int, int]:
        """What rows and columns become."""
        return self.convolution.side(rows) // self.pool, self.convolution.side(columns) // self.pool


class AttentionPooling(nn.Module):
    """One vector from any number of regions: each is asked by the same learnt query how much it matters."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.randn(size) / math.sqrt(size))
        self.attention = Attention(DotProduct(size, size), site=SITE)

    def forward(
        self, regions: Float[Tensor, "batch regions size"], record: AttentionRecord | None
    ) -> Float[Tensor, "batch size"]:
        """The sum of weights times regions."""
        memory = self.attention.remember(regions.unsqueeze(1), regions.unsqueeze(1))
        query = self.query.repeat(regions.size(0), 1, 1, 1)
        return self.attention(query, memory, record=record)[:, 0, 0]


class ImageClassifier(Model):
    """Pictures of one size, each with one label; a `Labeller`."""

    def __init__(self, config: Config, dimensions: Dimensions) -> None:
        super().__init__()
        blocks = []
        channels, rows, columns = dimensions.source, dimensions.height, dimensions.width
        for place, described in enumerate(config.convolutions):
            blocks.append(Block(described, channels))
            channels, (rows, columns) = described.filters, blocks[-1].sides(rows, columns)
            if min(rows, columns) < 1:
                raise UsageError(
                    f"model.convolutions[{place}] leaves nothing of a picture of {dimensions.height} x "
                    f"{dimensions.width}; make its width, stride or pool smaller"
                )
        self.blocks = Stack(blocks)
        self.grid = rows, columns  # of regions
        self.pooling = AttentionPooling(channels) if config.pooling == "attention" else None
        size = channels if self.pooling else channels * rows * columns
        sizes = [size, *config.hidden]
        self.hidden = Stack([nn.Linear(*pair) for pair in pairwise(sizes)])
        for layer in self.hidden:
            nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
        self.dropout = Dropout(config.dropout)
        self.readout = nn.Linear(sizes[-1], dimensions.target)

    def forward(self, batch: Batch, record: AttentionRecord | None = None) -> Output:
        """One place a picture: (batch, 1, size)."""
        return Output(self._read(batch.source, record), self.readout)

    def label(
        self, source: Float[Tensor, "batch channels rows columns"], record: AttentionRecord | None = None
    ) -> Float[Tensor, "batch 1 labels"]:
        """Logits of the classes."""
        logits: Tensor = self.readout(self._read(source, record))
        return logits

    def _read(self, pictures: Tensor, record: AttentionRecord | None) -> Tensor:
        volume = pictures
        for block in self.blocks:
            volume = block(volume)
        regions = volume.flatten(2).transpose(1, 2)
        vector = volume.flatten(1) if self.pooling is None else self.pooling(regions, record)
        for layer in self.hidden:
            vector = functional.relu(layer(self.dropout(vector)))
        return self.dropout(vector).unsqueeze(1)

    def flops(self, batch: Batch) -> int:
        """Operations on so many pictures."""
        number, rows, columns = batch.source.size(0), *batch.source.shape[-2:]
        total = 0
        for block in self.blocks:
            total += block.convolution.flops(number, rows, columns)
            rows, columns = block.sides(rows, columns)
        if self.pooling is not None:
            size = self.pooling.query.numel()
            total += self.pooling.attention.flops(number, 1, rows * columns, size)
        return total + of_matrices(self.hidden, number) + of_matrices(self.readout, number)


def build(config: Config, dimensions: Dimensions) -> ImageClassifier:
    """The classifier with fresh parameters.

    Raises:
        UsageError: the data are no pictures, or too small for the convolutions.
    """
    if not dimensions.height:
        raise UsageError("kind image_classifier reads pictures; say in `data.picture` what size they shall have")
    return ImageClassifier(config, dimensions)
