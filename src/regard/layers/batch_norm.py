"""Batch normalisation (Ioffe and Szegedy 2015) that a batch of one does not stop."""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm


def _normalise(norm: _BatchNorm, values: Tensor) -> Tensor:
    return functional.batch_norm(values, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)


class BatchNorm1d(nn.BatchNorm1d):
    """Of vectors. A single one, which has no variance, is treated as in evaluation, and nothing is noted of it."""

    def forward(self, rows: Float[Tensor, "batch size"]) -> Float[Tensor, "batch size"]:
        """The rows, each feature with mean 0 and variance 1 in the batch."""
        normalised: Tensor = _normalise(self, rows) if rows.numel() == rows.size(1) else super().forward(rows)
        return normalised


class BatchNorm2d(nn.BatchNorm2d):
    """Of pictures. A single place, which has no variance, is treated as in evaluation, and nothing is noted of it."""

    def forward(self, volume: Float[Tensor, "batch size rows columns"]) -> Float[Tensor, "batch size rows columns"]:
        """The volume, each feature with mean 0 and variance 1 over all places of all pictures."""
        normalised: Tensor = _normalise(self, volume) if volume.numel() == volume.size(1) else super().forward(volume)
        return normalised
