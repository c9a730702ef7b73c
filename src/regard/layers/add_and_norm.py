"""Residual connection and layer normalisation around a sub-layer, in the two orders in use."""

from abc import ABC, abstractmethod

from jaxtyping import Float
from torch import Tensor, nn

from regard.layers.dropout import Dropout


class AddAndNorm(nn.Module, ABC):
    """What stands before and after a sub-layer: `leave(states, sublayer(enter(states)))`."""

    def __init__(self, size: int, *, dropout: float, bias: bool = True) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(size, bias=bias)
        self.dropout = Dropout(dropout)

    @abstractmethod
    def enter(self, states: Float[Tensor, "*batch size"]) -> Float[Tensor, "*batch size"]:
        """What the sub-layer reads."""

    @abstractmethod
    def leave(
        self, states: Float[Tensor, "*batch size"], branch: Float[Tensor, "*batch size"]
    ) -> Float[Tensor, "*batch size"]:
        """Join what the sub-layer said to what went around it."""


class PostNorm(AddAndNorm):
    """norm(x + dropout(sublayer(x))), as published (Vaswani et al. 2017, 3.1)."""

    def enter(self, states: Tensor) -> Tensor:
        """The states themselves."""
        return states

    def leave(self, states: Tensor, branch: Tensor) -> Tensor:
        """Normalise the sum."""
        normalised: Tensor = self.norm(self.dropout.add(states, branch))
        return normalised


class PreNorm(AddAndNorm):
    """x + dropout(sublayer(norm(x))): trains deep stacks more calmly, but needs a norm at the very end."""

    def enter(self, states: Tensor) -> Tensor:
        """The states, normalised."""
        normalised: Tensor = self.norm(states)
        return normalised

    def leave(self, states: Tensor, branch: Tensor) -> Tensor:
        """Add, and leave the residual stream untouched."""
        return self.dropout.add(states, branch)
