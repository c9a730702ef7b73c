"""Picture in, regions out: the vectors a_1 .. a_L that attention chooses from (Xu et al. 2015, section 3.1.1)."""

from collections.abc import Mapping
from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from regard.layers.efficientnet_lite0 import EfficientNetLite0, EfficientNetLite0Config
from regard.layers.residual_network import ResidualNetwork, ResidualNetworkConfig

PictureEncoderConfig = Annotated[ResidualNetworkConfig | EfficientNetLite0Config, Field(discriminator="kind")]


class PictureEncoder(nn.Module):
    """A convolutional network whose last volume is read place by place, row after row.

    A frozen one has no gradients, and its batch normalisation keeps the statistics that it came with, also while
    the model around it is trained.
    """

    def __init__(self, config: ResidualNetworkConfig | EfficientNetLite0Config, channels: int) -> None:
        """Raises `ValueError` where the encoder's weights are for pictures with another number of channels."""
        super().__init__()
        self.frozen = False
        self.weights: str | None = None  # where they come from at first; None: they are random
        if isinstance(config, ResidualNetworkConfig):
            self.network: ResidualNetwork | EfficientNetLite0 = ResidualNetwork(config, channels)
        else:
            if channels != 3:
                raise ValueError(f"efficientnet_lite0 reads 3 channels, not {channels}: set data.picture.channels to 3")
            self.network = EfficientNetLite0()
            self.frozen, self.weights = config.frozen, config.weights
        self.size = self.network.size
        if self.frozen:
            self.network.requires_grad_(False)
            self.network.eval()

    def forward(self, pictures: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch regions size"]:
        """One vector a region."""
        # Channels last: convolutions take two thirds of the time on a CPU, and a region's vector lies in one piece.
        pictures = pictures.contiguous(memory_format=torch.channels_last)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            volume: Tensor = self.network(pictures)
        return volume.flatten(2).transpose(1, 2)

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of the regions of such pictures."""
        for _ in range(self.network.num_halvings):
            height, width = (height + 1) // 2, (width + 1) // 2
        return height, width

    def flops(self, number: int, height: int, width: int) -> int:
        """Operations on so many pictures."""
        return self.network.flops(number, height, width)

    def load_pretrained(self, state: Mapping[str, Tensor]) -> None:
        """Take over the state dict that `weights` names.

        Raises:
            RuntimeError: a tensor is missing, unknown, or of another shape.
        """
        assert isinstance(self.network, EfficientNetLite0)
        self.network.load_packaged(state)

    def train(self, mode: bool = True) -> "PictureEncoder":
        """Training mode, for all but what is frozen."""
        super().train(mode)
        if self.frozen:
            self.network.eval()
        return self


class WithPictureEncoder:
    """A model's `encoder` as `regard.protocol.Seeing` and `Pretrained` ask for it."""

    encoder: PictureEncoder

    @property
    def frozen_encoder(self) -> PictureEncoder | None:
        """The encoder, if it is never trained."""
        return self.encoder if self.encoder.frozen else None

    def frozen_flops(self, source: Tensor) -> int:
        """Those of an encoder that is never trained; regions that it has read before cost nothing."""
        if not self.encoder.frozen or source.ndim < 4:
            return 0
        return self.encoder.flops(source.size(0), source.size(2), source.size(3))

    @property
    def pretrained(self) -> str | None:
        """The weights from which the encoder begins."""
        return self.encoder.weights

    def load_pretrained(self, state: Mapping[str, Tensor]) -> None:
        """Give them to it."""
        self.encoder.load_pretrained(state)
