"""One vector from the layers of a deep model: a weighted mean, learnt for the task (Peters et al. 2018, equation 1)."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn


class ScalarMix(nn.Module):
    """gamma * sum_j s_j h_j, where s = softmax(scores): all layers alike, and gamma = 1, at the start."""

    def __init__(self, num_layers: int) -> None:
        super().__init__()
        self.scores = nn.Parameter(torch.zeros(num_layers))
        self.gamma = nn.Parameter(torch.ones(()))

    @property
    def weights(self) -> Float[Tensor, " layers"]:
        """s: how much each layer counts; they add up to 1."""
        return self.scores.softmax(0)

    def forward(self, layers: Sequence[Float[Tensor, "*batch size"]]) -> Float[Tensor, "*batch size"]:
        """The mixture of as many layers as there are weights.

        Raises:
            ValueError: there are more layers, or fewer.
        """
        mixed = torch.zeros_like(layers[0])
        for weight, layer in zip(self.weights.unbind(), layers, strict=True):
            mixed = mixed + weight * layer
        return self.gamma * mixed
