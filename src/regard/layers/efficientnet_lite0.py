"""EfficientNet-Lite0: an image encoder of 3.4 million weights that come trained on ImageNet (Tan and Le 2019).

Inverted bottlenecks (Sandler et al. 2018): widen by a 1 x 1 convolution, look around channel by channel, narrow again
without a nonlinearity. "Lite" leaves out squeeze-and-excitation and takes ReLU6. A picture of 224 x 224 becomes
7 x 7 regions of 1,280 numbers. It reads (x - 127) / 128 of bytes x: in `data.picture` mean 0.498039, std 0.501961.
"""

import re
from collections.abc import Mapping
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from regard.config import base
from regard.layers.batch_norm import BatchNorm
from regard.layers.residual_network import of_convolution

_STEM, _SIZE = 32, 1280
# Repeats, kernel size, stride of the first, expansion, output channels: the paper's table 1.
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
# Names of the packaged file, and ours.
_NAMES = (
    (r"^_conv_stem\.", "stem.convolution."),
    (r"^_bn0\.", "stem.norm."),
    (r"^_conv_head\.", "head.convolution."),
    (r"^_bn1\.", "head.norm."),
    (r"^_blocks\.(\d+)\._expand_conv\.", r"blocks.\1.expand.convolution."),
    (r"^_blocks\.(\d+)\._bn0\.", r"blocks.\1.expand.norm."),
    (r"^_blocks\.(\d+)\._depthwise_conv\.", r"blocks.\1.depthwise.convolution."),
    (r"^_blocks\.(\d+)\._bn1\.", r"blocks.\1.depthwise.norm."),
    (r"^_blocks\.(\d+)\._project_conv\.", r"blocks.\1.project.convolution."),
    (r"^_blocks\.(\d+)\._bn2\.", r"blocks.\1.project.norm."),
)
_CLASSIFIER = ("_fc.weight", "_fc.bias")  # of ImageNet's classes; an encoder has no use for it


class EfficientNetLite0Config(base.Config):
    """The encoder, with the weights a run begins from: `imagenet` (extra `vision`), or a file with a state dict.

    With `frozen` it is never trained; then its regions are computed once a picture and kept in the cache.
    """

    kind: Literal["efficientnet_lite0"] = "efficientnet_lite0"
    weights: str = "imagenet"
    frozen: bool = True


class Convolution(nn.Module):
    """Convolution, batch normalisation and, unless `linear`, ReLU6; padded so that n pixels become n / stride.

    Where an odd number of pixels is added, the last side gets one more, as the weights' first home has it.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel_size: int = 1, *, stride: int = 1, groups: int = 1, linear: bool = False
    ) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(inputs, outputs, kernel_size, stride, groups=groups, bias=False)
        self.norm = BatchNorm(outputs, eps=1e-3, momentum=0.01)
        self.kernel_size, self.stride, self.linear = kernel_size, stride, linear

    def forward(self, volume: Float[Tensor, "batch inputs rows columns"]) -> Tensor:
        """(batch, outputs, rows / stride, columns / stride), rounded up."""
        (top, bottom), (left, right) = (self._padding(length) for length in volume.shape[2:])
        volume = self.norm(self.convolution(functional.pad(volume, (left, right, top, bottom))))
        return volume if self.linear else functional.relu6(volume)

    def flops(self, number: int, rows: int, columns: int) -> int:
        """Operations on so many volumes (rows, columns)."""
        return of_convolution(self.convolution, number, rows, columns)

    def _padding(self, length: int) -> tuple[int, int]:
        missing = max(0, (-(-length // self.stride) - 1) * self.stride + self.kernel_size - length)
        return missing // 2, missing - missing // 2


class InvertedBottleneck(nn.Module):
    """Widen, look around, narrow; added to its input where the shape stays (Sandler et al. 2018, section 3.3)."""

    def __init__(self, inputs: int, outputs: int, *, kernel_size: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = inputs * expansion
        self.expand = Convolution(inputs, inner) if expansion != 1 else nn.Identity()
        self.depthwise = Convolution(inner, inner, kernel_size, stride=stride, groups=inner)
        self.project = Convolution(inner, outputs, linear=True)
        self.is_residual = stride == 1 and inputs == outputs

    def forward(self, volume: Float[Tensor, "batch inputs rows columns"]) -> Tensor:
        """(batch, outputs, rows / stride, columns / stride), rounded up."""
        narrowed: Tensor = self.project(self.depthwise(self.expand(volume)))
        return volume + narrowed if self.is_residual else narrowed

    def flops(self, number: int, rows: int, columns: int) -> int:
        """Operations on so many volumes (rows, columns)."""
        widened = self.expand.flops(number, rows, columns) if isinstance(self.expand, Convolution) else 0
        seen = self.depthwise.flops(number, rows, columns)
        stride = self.depthwise.stride
        return widened + seen + self.project.flops(number, -(-rows // stride), -(-columns // stride))


class EfficientNetLite0(nn.Module):
    """Stem, sixteen blocks, and a head of 1,280 channels."""

    size, num_halvings = _SIZE, 5

    def __init__(self) -> None:
        super().__init__()
        self.stem = Convolution(3, _STEM, 3, stride=2)
        self.blocks = nn.Sequential(*_blocks())
        self.head = Convolution(_STAGES[-1][-1], _SIZE)

    def forward(self, pictures: Float[Tensor, "batch 3 height width"]) -> Tensor:
        """(batch, 1280, height / 32, width / 32), rounded up."""
        volume: Tensor = self.head(self.blocks(self.stem(pictures)))
        return volume

    def flops(self, number: int, height: int, width: int) -> int:
        """Operations on so many pictures."""
        total, rows, columns = self.stem.flops(number, height, width), (height + 1) // 2, (width + 1) // 2
        for block in self.blocks:
            assert isinstance(block, InvertedBottleneck)
            total += block.flops(number, rows, columns)
            stride = block.depthwise.stride
            rows, columns = -(-rows // stride), -(-columns // stride)
        return total + self.head.flops(number, rows, columns)

    def load_packaged(self, state: Mapping[str, Tensor]) -> None:
        """Take over a state dict that is named as the package names its own, every tensor of it.

        Raises:
            RuntimeError: one is missing, unknown, or of another shape.
        """
        named = {_our_name(name): tensor for name, tensor in state.items() if name not in _CLASSIFIER}
        self.load_state_dict(named, strict=True)


def _our_name(name: str) -> str:
    for theirs, ours in _NAMES:
        name, found = re.subn(theirs, ours, name)
        if found:
            break
    return name


def _blocks() -> list[InvertedBottleneck]:
    blocks, inputs = [], _STEM
    for repeats, kernel_size, stride, expansion, outputs in _STAGES:
        for place in range(repeats):
            first = place == 0
            blocks.append(
                InvertedBottleneck(
                    inputs,
                    outputs,
                    kernel_size=kernel_size,
                    stride=stride if first else 1,
                    expansion=expansion,
                )
            )
            inputs = outputs
    return blocks
