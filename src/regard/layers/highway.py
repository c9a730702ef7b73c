"""Highway layers: a gate decides, unit by unit, what is transformed and what is carried (Srivastava et al. 2015)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

# Behind this bias the gate lets 12 % through at first: a deep stack begins near the identity (ibid., section 2.1).
CARRYING = -2.0


class Highway(nn.Module):
    """y = g * relu(W x + b) + (1 - g) * x, where g = sigmoid(W_g x + b_g) and b_g starts at -2."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.transform = nn.Linear(size, size)
        self.gate = nn.Linear(size, size)
        nn.init.constant_(self.gate.bias, CARRYING)

    def forward(self, states: Float[Tensor, "*batch size"]) -> Float[Tensor, "*batch size"]:
        """Every vector by itself."""
        return torch.lerp(states, self.transform(states).relu(), self.gate(states).sigmoid())
