"""The LSTM with a projection (Sak et al. 2014) and with clipping, as ELMo has it: many cells, few outputs."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from regard.layers.recurrent import LayerState


class ProjectedLSTM(nn.Module):
    """c = clip(f * c + i * g), h = clip(P (o * tanh(c))): one layer, in one direction; the gates' order is i, f, g, o.

    `input` is the lecture's U, `hidden` its W; there is one bias, and its part for the forget gate starts at 1.
    Clipping keeps values in [-clip, clip] and stops the gradient of those beyond; None leaves it out.
    """

    def __init__(
        self,
        input_size: int,
        *,
        size: int,
        cell_size: int,
        cell_clip: float | None = None,
        projection_clip: float | None = None,
    ) -> None:
        """`size` is that of the outputs."""
        super().__init__()
        self.input = nn.Linear(input_size, 4 * cell_size, bias=False)
        self.hidden = nn.Linear(size, 4 * cell_size)
        self.project = nn.Linear(cell_size, size, bias=False)
        self.cell_clip = cell_clip
        self.projection_clip = projection_clip
        for matrix in (self.input, self.hidden):
            for gate in matrix.weight.detach().split(cell_size):
                nn.init.xavier_uniform_(gate)
        nn.init.zeros_(self.hidden.bias)
        nn.init.ones_(self.hidden.bias.detach()[cell_size : 2 * cell_size])

    def forward(self, inputs: Float[Tensor, "batch length input_size"]) -> Float[Tensor, "batch length size"]:
        """The outputs at all places, from zeros: no state is kept from one call to the next."""
        from_inputs = self.input(inputs)  # for all places at once; only what depends on the past goes step by step
        hidden = inputs.new_zeros(len(inputs), self.project.out_features)
        past = LayerState(hidden, inputs.new_zeros(len(inputs), self.project.in_features))
        outputs = []
        for from_input in from_inputs.unbind(1):
            past = self._step(from_input, past)
            outputs.append(past.hidden)
        return torch.stack(outputs, 1)

    def _step(self, from_input: Tensor, past: LayerState) -> LayerState:
        assert past.cell is not None
        i, f, g, o = (from_input + self.hidden(past.hidden)).chunk(4, -1)
        cell = _clip(f.sigmoid() * past.cell + i.sigmoid() * g.tanh(), self.cell_clip)
        return LayerState(_clip(self.project(o.sigmoid() * cell.tanh()), self.projection_clip), cell)


def _clip(values: Tensor, bound: float | None) -> Tensor:
    return values if bound is None else values.clamp(-bound, bound)
