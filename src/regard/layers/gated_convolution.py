"""Convolution over a sequence with a gated linear unit behind it (Dauphin et al. 2017; Gehring et al. 2017, 3.2)."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from regard.layers.dropout import Dropout
from regard.layers.weight_norm import weight_norm


class GatedConvolution(nn.Module):
    """y_i = a * sigmoid(b), where [a; b] = W [x_(i-before); ...; x_(i+after)] + bias, and before + 1 + after = width.

    `after` is 0 in a decoder (causal) and width // 2 in an encoder (centred); beyond the ends of a sentence x is 0.
    The windows are laid out and multiplied by one matrix, in training and in decoding alike. W is weight-normalised
    and starts from N(0, 4p/n), n inputs of which `dropout` keeps the share p: a gate that is half open lets a
    quarter of the variance through (Gehring et al. 2017, 3.5 and appendix A).
    """

    def __init__(self, input_size: int, size: int, *, width: int, after: int, dropout: float = 0.0) -> None:
        """Raises `ValueError` when `after` lies outside the window."""
        super().__init__()
        if not 0 <= after < width:
            raise ValueError(f"a window of {width} has room for 0 to {width - 1} inputs after the present, not {after}")
        self.input_size = input_size
        self.width = width
        self.before, self.after = width - 1 - after, after
        self.dropout = Dropout(dropout)
        linear = nn.Linear(width * input_size, 2 * size)
        nn.init.normal_(linear.weight, std=math.sqrt(4 * (1 - dropout) / linear.in_features))
        nn.init.zeros_(linear.bias)
        self.linear = weight_norm(linear)

    def forward(
        self, states: Float[Tensor, "batch length input_size"], mask: Bool[Tensor, "batch length"] | None = None
    ) -> Float[Tensor, "batch length size"]:
        """All positions at once. What `mask` hides is padding, and read as 0: as the end of the sentence is."""
        inputs = self.dropout(states)
        if mask is not None:
            inputs = inputs.masked_fill(~mask.unsqueeze(-1), 0.0)
        padded = functional.pad(inputs, (0, 0, self.before, self.after))
        windows = [padded[:, start : start + states.size(1)] for start in range(self.width)]
        return self._gated(torch.cat(windows, -1))

    def start(self, rows: int, like: Tensor) -> Float[Tensor, "rows before input_size"]:
        """What `step` remembers before the first input: nothing but zeros, as `forward` has them."""
        return like.new_zeros(rows, self.before, self.input_size)

    def step(
        self, state: Float[Tensor, "rows 1 input_size"], past: Float[Tensor, "rows before input_size"]
    ) -> tuple[Float[Tensor, "rows 1 size"], Float[Tensor, "rows before input_size"]]:
        """The next position only, from the inputs before it; the oldest is forgotten, so every step costs the same."""
        assert self.after == 0, "the future cannot be seen step by step"
        window = torch.cat([past, self.dropout(state)], 1)
        return self._gated(window.flatten(1).unsqueeze(1)), window[:, 1:]

    def _gated(self, windows: Tensor) -> Tensor:
        return functional.glu(self.linear(windows), -1)
