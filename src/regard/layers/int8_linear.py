"""Matrix products in 8-bit integers, for inference on a CPU: a quarter of the weights' memory, exact sums."""

import copy

import torch
from jaxtyping import Float
from torch import Tensor, nn

LARGEST = 127
# Below this a row is taken to be all zeros.
SMALLEST_SCALE = 1e-12


class Int8Linear(nn.Module):
    """y = s_x s_w (q_x q_w) + b with x = s_x q_x for every row of x, and w = s_w q_w for every row of w.

    A scale belongs to one row, not to the whole batch, and sums of integers are exact: what becomes of a row does
    not depend on its neighbours. (torch's own dynamic quantisation has one scale for the whole batch.)
    """

    def __init__(self, linear: nn.Linear) -> None:
        """Round the weights of `linear`."""
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        weight = linear.weight.detach().float()
        scale = weight.abs().amax(1).clamp(min=SMALLEST_SCALE) / LARGEST
        self.weight: Tensor
        self.scale: Tensor
        self.bias: Tensor | None
        self.register_buffer("weight", (weight / scale.unsqueeze(1)).round().to(torch.int8))
        self.register_buffer("scale", scale)
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach().float())

    def forward(self, inputs: Float[Tensor, "*batch in_features"]) -> Float[Tensor, "*batch out_features"]:
        """W x + b, off by the rounding of both to 8 bits."""
        rows = inputs.reshape(-1, self.in_features)
        scale = rows.abs().amax(-1, keepdim=True).clamp_(min=SMALLEST_SCALE).div_(LARGEST)
        rounded = (rows / scale).round_().to(torch.int8)
        outputs = torch._int_mm(rounded, self.weight.t()).float().mul_(scale).mul_(self.scale)
        if self.bias is not None:
            outputs.add_(self.bias)
        return outputs.view(*inputs.shape[:-1], self.out_features)


def to_int8(model: nn.Module) -> nn.Module:
    """A copy of `model` in which every `nn.Linear` with more than one output computes in 8 bits, and nothing else."""
    quantised = copy.deepcopy(model)
    for parent in list(quantised.modules()):
        for name, child in list(parent.named_children()):
            # A single row is read as a vector by the additive score, and there would be nothing to gain with it.
            if isinstance(child, nn.Linear) and child.out_features > 1:
                setattr(parent, name, Int8Linear(child))
    return quantised
