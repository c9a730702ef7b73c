"""Batch normalisation (Ioffe and Szegedy 2015) that a batch of one does not stop."""

from torch import Tensor, nn
from torch.nn import functional


class BatchNorm(nn.modules.batchnorm._BatchNorm):
    """Of vectors or volumes; where a feature has one value, and so no variance, as in evaluation, and unnoted."""

    def forward(self, input: Tensor) -> Tensor:
        """Every feature (the second axis) with mean 0 and variance 1."""
        if input.numel() > input.size(1):
            return super().forward(input)
        return functional.batch_norm(input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)

    def _check_input_dim(self, input: Tensor) -> None: ...  # there may be any number of axes
