"""Convolution over time with gaps between its taps: how few layers see far (Kalchbrenner et al. 2016, 3.4 and 3.5)."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional


class DilatedConvolution(nn.Module):
    """y_t = W_1 x_(t - r) + ... + W_k x_(t - r + (k-1) dilation) + b, r positions back; x is 0 outside the sequence.

    Masked (causal), r = (k-1) dilation: the last tap lies on t itself and none lies in the future. Otherwise
    the middle tap lies on t. The k matrices stand side by side in `taps`, the oldest first, so that a whole
    sequence and one step of a search are the same fully connected layer. (With bf16 on a CPU that is as fast as
    torch's convolution, which would want channels first: 25 against 24 ms for 60 x 70 positions of 224.)
    """

    def __init__(self, input_size: int, output_size: int, *, kernel_size: int, dilation: int, causal: bool) -> None:
        """Raises `ValueError` for a kernel that is not causal and has no middle."""
        super().__init__()
        if not causal and kernel_size % 2 == 0:
            raise ValueError(f"a kernel of {kernel_size} taps has no middle; take an odd number")
        self.input_size = input_size
        self.dilation = dilation
        self.reach = (kernel_size - 1) * dilation  # from the first tap to the last
        self.reach_ahead = 0 if causal else self.reach // 2
        self.taps = nn.Linear(kernel_size * input_size, output_size)

    def forward(
        self, inputs: Float[Tensor, "batch length input_size"], mask: Bool[Tensor, "batch length"] | None = None
    ) -> Float[Tensor, "batch length output_size"]:
        """All positions at once. Where `mask` is False the sequence has ended: read as 0, like all that is outside."""
        if mask is not None:
            inputs = inputs.masked_fill(~mask.unsqueeze(-1), 0.0)
        length = inputs.size(1)
        padded = functional.pad(inputs, (0, 0, self.reach - self.reach_ahead, self.reach_ahead))
        seen = [padded[:, start : start + length] for start in range(0, self.reach + 1, self.dilation)]
        convolved: Tensor = self.taps(torch.cat(seen, -1))
        return convolved

    def start(self, like: Float[Tensor, "rows ..."]) -> Float[Tensor, "rows reach input_size"]:
        """The past before the first step, zeros: as many rows as `like` has, in its number format, on its device."""
        return like.new_zeros(like.size(0), self.reach, self.input_size)

    def step(
        self, inputs: Float[Tensor, "rows input_size"], past: Float[Tensor, "rows reach input_size"]
    ) -> tuple[Float[Tensor, "rows output_size"], Float[Tensor, "rows reach input_size"]]:
        """The next position: its output, and the past that has forgotten its oldest input for this one.

        The past is as long at every step, and so a step costs the same however much has been said.

        Raises:
            ValueError: the convolution is not causal; it must see whole sequences.
        """
        if self.reach_ahead:
            raise ValueError("a convolution that looks ahead cannot go step by step")
        window = torch.cat([past, inputs.unsqueeze(1)], 1)  # reach + 1 inputs, the oldest first
        convolved: Tensor = self.taps(window[:, :: self.dilation].flatten(1))
        return convolved, window[:, 1:]

    def extra_repr(self) -> str:
        """Shown by `print(model)`."""
        return f"dilation={self.dilation}, reach={self.reach}, reach_ahead={self.reach_ahead}"
