"""The fully connected network: y = W2 f(W1 x + b1) + b2, on every position alike (Vaswani et al. 2017, 3.3)."""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from regard.layers.dropout import Dropout
from regard.operations import of_matrices

Activation = Callable[[Tensor], Tensor]


class FullyConnected(nn.Module):
    """One hidden layer of `hidden_size` units between two of `size`; `dropout` falls on the hidden units."""

    def __init__(
        self,
        size: int,
        hidden_size: int,
        *,
        activation: Activation = functional.relu,
        dropout: float = 0.0,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.inner = nn.Linear(size, hidden_size, bias=bias)
        self.outer = nn.Linear(hidden_size, size, bias=bias)
        self.activation = activation
        self.dropout = Dropout(dropout)

    def forward(self, states: Float[Tensor, "*batch size"]) -> Float[Tensor, "*batch size"]:
        """W2 f(W1 x + b1) + b2."""
        transformed: Tensor = self.outer(self.dropout(self.activation(self.inner(states))))
        return transformed

    def flops(self, rows: int) -> int:
        """Operations on so many vectors."""
        return of_matrices(self, rows)
