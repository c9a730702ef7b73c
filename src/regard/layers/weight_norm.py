"""Weight normalisation: how long a row of weights is, and where it points, learn apart (Salimans and Kingma 2016)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import parametrize


class WeightNorm(nn.Module):
    """w = g v / |v| for every row (Salimans and Kingma 2016, eq. 2)."""

    def forward(self, length: Float[Tensor, " rows"], direction: Float[Tensor, "rows size"]) -> Tensor:
        """The weights; `length` is g. It has one axis, as biases have, so that weight decay spares it."""
        return direction * (length / torch.linalg.vector_norm(direction, dim=1)).unsqueeze(1)

    def right_inverse(self, weight: Float[Tensor, "rows size"]) -> tuple[Tensor, Tensor]:
        """The g and v that give `weight`: at first nothing is changed."""
        return torch.linalg.vector_norm(weight, dim=1), weight


def weight_norm(linear: nn.Linear) -> nn.Linear:
    """The same layer, its `weight` made of `parametrizations.weight.original0` (g) and `original1` (v) from now on."""
    parametrize.register_parametrization(linear, "weight", WeightNorm())
    return linear
