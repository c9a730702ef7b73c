"""Dropout (Srivastava et al. 2014), with noise that a processor draws five times faster than `torch.nn.Dropout`'s."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

_CHOICES = 1 << 16


class Dropout(nn.Module):
    """While training, zero every element with `probability` and divide the rest by the chance to stay.

    On a CPU the noise is 16 random bits an element, four to a number from torch's own generator: so the
    probability is exact to 1/65536 (the division uses the exact one), and runs resume bit for bit.
    """

    def __init__(self, probability: float) -> None:
        """Raises `ValueError` unless 0 <= probability < 1."""
        super().__init__()
        if not 0 <= probability < 1:
            raise ValueError(f"a dropout probability is at least 0 and less than 1, but it is {probability}")
        self.probability = probability
        self._num_dropped = min(round(probability * _CHOICES), _CHOICES - 1)
        self._scale = _CHOICES / (_CHOICES - self._num_dropped)

    def forward(self, states: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """The states, some of them dropped; the states themselves in evaluation."""
        if not self._active:
            return states
        if states.device.type != "cpu":
            return functional.dropout(states, self.probability)
        return states * self._noise(states).mul_(self._scale)

    def add(self, residual: Float[Tensor, "*shape"], states: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """The sum residual + dropout(states), in one pass over the memory on a CPU."""
        if not self._active or states.device.type != "cpu":
            return residual + self(states)
        return torch.addcmul(residual, states, self._noise(states), value=self._scale)

    def extra_repr(self) -> str:
        """Shown by `print(model)`."""
        return f"{self.probability}"

    @property
    def _active(self) -> bool:
        return self.training and self._num_dropped > 0

    def _noise(self, states: Tensor) -> Tensor:
        """1 where an element stays, 0 where it is dropped."""
        bits = torch.empty((states.numel() + 3) // 4, dtype=torch.int64).random_(-(1 << 63), None)
        choices = bits.view(torch.int16)[: states.numel()].view(states.shape)  # uniform in -32768 .. 32767
        return torch.ge(choices, self._num_dropped - _CHOICES // 2, out=torch.empty_like(choices, dtype=states.dtype))
