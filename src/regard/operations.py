"""Counting operations: products of matrices, two for each multiplication with its addition; nothing else counts."""

from torch import nn


def of_matrices(module: nn.Module, rows: int) -> int:
    """Floating-point operations where so many vectors meet every weight matrix of `module` once."""
    return 2 * rows * sum(weight.numel() for weight in module.parameters() if weight.ndim == 2)
