"""Recurrent layers: h_t = tanh(U x_t + W h_{t-1} + b) and its gated relatives, LSTM and GRU.

The lecture's U is torch's `weight_ih`, its W is `weight_hh`; V is the readout, which is not part of the layer.
Whole sequences go through torch's fused kernels. One step of a search goes through the equations below, which
are the same function, and for a single sentence three to twelve times as fast (benchmarks/recurrent.py).
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from regard.operations import of_matrices

CellName = Literal["rnn", "lstm", "gru"]


class States(NamedTuple):
    """What a stack of recurrent layers remembers, batch first: h of every layer, and c where the cell has one."""

    hidden: Float[Tensor, "rows layers size"]
    cell: Float[Tensor, "rows layers size"] | None = None


class LayerState(NamedTuple):
    """What one layer remembers."""

    hidden: Float[Tensor, "rows size"]
    cell: Float[Tensor, "rows size"] | None = None


def rnn_step(from_input: Tensor, from_hidden: Tensor, past: LayerState) -> LayerState:
    """Elman 1990: h' = tanh(U x + W h). `from_input` is U x and `from_hidden` is W h, each with its bias."""
    return LayerState(torch.tanh(from_input + from_hidden))


def lstm_step(from_input: Tensor, from_hidden: Tensor, past: LayerState) -> LayerState:
    """Gers et al. 2000: c' = f * c + i * g, h' = o * tanh(c'). U and W stack the gates i, f, g, o."""
    assert past.cell is not None
    i, f, g, o = (from_input + from_hidden).chunk(4, -1)
    cell = f.sigmoid() * past.cell + i.sigmoid() * g.tanh()
    return LayerState(o.sigmoid() * cell.tanh(), cell)


def gru_step(from_input: Tensor, from_hidden: Tensor, past: LayerState) -> LayerState:
    """Cho et al. 2014: h' = (1 - z) * n + z * h, n = tanh(U x + r * W h), as in torch. U and W stack r, z, n."""
    r_input, z_input, n_input = from_input.chunk(3, -1)
    r_hidden, z_hidden, n_hidden = from_hidden.chunk(3, -1)
    z = (z_input + z_hidden).sigmoid()
    n = torch.tanh(n_input + (r_input + r_hidden).sigmoid() * n_hidden)
    return LayerState((1 - z) * n + z * past.hidden)


_KERNELS: dict[CellName, Callable[..., nn.RNNBase]] = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
_EQUATIONS: dict[CellName, Callable[[Tensor, Tensor, LayerState], LayerState]] = {
    "rnn": rnn_step,
    "lstm": lstm_step,
    "gru": gru_step,
}


class Recurrent(nn.Module):
    """A stack of recurrent layers, in one direction or both.

    In both directions every position gets [forward; backward], the next layer reads both, and the states of a
    layer are those of the two ends, [forward at the last token; backward at the first].
    """

    def __init__(
        self,
        cell: CellName,
        input_size: int,
        *,
        size: int,
        num_layers: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.0,
    ) -> None:
        """`size` is that of one direction; `dropout` acts between the layers."""
        super().__init__()
        self.num_layers = num_layers
        self.equations = _EQUATIONS[cell]
        self.kernel = _KERNELS[cell](
            input_size,
            size,
            num_layers,
            batch_first=True,
            bidirectional=bidirectional,
            dropout=dropout if num_layers > 1 else 0.0,  # torch warns about a dropout without effect
        )

    def forward(
        self,
        inputs: Float[Tensor, "batch length input_size"],
        states: States | None = None,
        lengths: Int[Tensor, " batch"] | None = None,
    ) -> tuple[Float[Tensor, "batch length directed_size"], States]:
        """The hidden states at all positions, and what is remembered after the last real one.

        With `lengths`, row r ends after lengths[r] inputs: the backward direction starts there, the states are
        those of that place, and the outputs behind it are 0. Without states, reading starts from zeros.

        Raises:
            ValueError: states for a layer that reads both ways; it must see whole sequences.
        """
        self._require_one_direction(states)
        initial = None if states is None else self._to_kernel(states)
        counted = None if lengths is None else lengths.cpu()
        if counted is None or bool((counted == inputs.size(1)).all()):
            outputs, final = self.kernel(inputs, initial)
            return outputs, self._from_kernel(final)
        packed = pack_padded_sequence(inputs, counted, batch_first=True, enforce_sorted=False)
        packed_outputs, final = self.kernel(packed, initial)
        outputs, _ = pad_packed_sequence(packed_outputs, batch_first=True, total_length=inputs.size(1))
        return outputs, self._from_kernel(final)

    def step(self, inputs: Float[Tensor, "rows input_size"], states: States) -> tuple[Tensor, States]:
        """One token further, by the equations: h of the top layer, and all states.

        Raises:
            ValueError: the layer reads both ways; it must see whole sequences.
        """
        self._require_one_direction(states)
        layers = []
        for layer in range(self.num_layers):
            past = LayerState(states.hidden[:, layer], None if states.cell is None else states.cell[:, layer])
            if layer > 0:
                inputs = functional.dropout(inputs, self.kernel.dropout, self.training)
            new = self.equations(
                functional.linear(inputs, *self._weights("ih", layer)),
                functional.linear(past.hidden, *self._weights("hh", layer)),
                past,
            )
            layers.append(new)
            inputs = new.hidden
        hidden = torch.stack([layer.hidden for layer in layers], 1)
        cells = [layer.cell for layer in layers if layer.cell is not None]
        return inputs, States(hidden, torch.stack(cells, 1) if cells else None)

    def flops(self, tokens: int) -> int:
        """Operations of reading so many real tokens: each meets U and W of every layer and direction once."""
        return of_matrices(self, tokens)

    def _require_one_direction(self, states: States | None) -> None:
        if self.kernel.bidirectional and states is not None:
            raise ValueError("a recurrent layer that reads both ways cannot continue from given states")

    def _weights(self, side: Literal["ih", "hh"], layer: int) -> tuple[Tensor, Tensor]:
        return getattr(self.kernel, f"weight_{side}_l{layer}"), getattr(self.kernel, f"bias_{side}_l{layer}")

    def _to_kernel(self, states: States) -> Tensor | tuple[Tensor, Tensor]:
        """Batch first to torch's (layers, rows, size)."""
        hidden = states.hidden.transpose(0, 1).contiguous()
        return hidden if states.cell is None else (hidden, states.cell.transpose(0, 1).contiguous())

    def _from_kernel(self, final: Tensor | tuple[Tensor, Tensor]) -> States:
        """The kernel's (layers * directions, rows, size) to batch first, the directions side by side."""
        hidden, cell = final if isinstance(final, tuple) else (final, None)
        return States(self._batch_first(hidden), None if cell is None else self._batch_first(cell))

    def _batch_first(self, states: Tensor) -> Tensor:
        return states.unflatten(0, (self.num_layers, -1)).permute(2, 0, 1, 3).flatten(2)


def follow(
    layer: Recurrent,
    inputs: Float[Tensor, "batch length input_size"],
    states: States,
    look: Callable[[Tensor], Tensor],
) -> tuple[Float[Tensor, "batch length size"], Float[Tensor, "batch length context_size"], States]:
    """A layer that looks before every step: x_t = [input_t; look(h_{t-1})], h_t = step(x_t, h_{t-1}).

    `look` gets h of the layer's top, (batch, size). What it found at every place is returned beside the hidden
    states, so that whatever reads both may take whole sequences again: only this one layer goes step by step.
    """
    outputs, contexts = [], []
    for vector in inputs.unbind(1):
        context = look(states.hidden[:, -1])
        output, states = layer.step(torch.cat([vector, context], -1), states)
        outputs.append(output)
        contexts.append(context)
    return torch.stack(outputs, 1), torch.stack(contexts, 1), states


def reverse_within(lengths: Int[Tensor, " batch"], length: int) -> Int[Tensor, "batch length"]:
    """Where to read from so that every row's first `lengths` places come last to first; padding stays."""
    place = torch.arange(length, device=lengths.device).expand(lengths.size(0), -1)
    mirrored = lengths.unsqueeze(1) - 1 - place
    return torch.where(mirrored >= 0, mirrored, place)


def initialise(module: nn.Module) -> None:
    """Xavier for what is read, orthogonal for what is remembered, 0 for biases; embeddings start as they say.

    Drawing everything from [-0.1, 0.1] (Luong et al. 2015, 4.1) suits 500 units and more; with 64 it is so near
    to 0 that attention has not begun to form after two hundred updates.
    """
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.RNNBase):
        for name, parameter in module.named_parameters():
            if name.startswith("bias"):
                nn.init.zeros_(parameter)
                continue
            draw = nn.init.orthogonal_ if name.startswith("weight_hh") else nn.init.xavier_uniform_
            for gate in parameter.split(module.hidden_size):
                draw(gate)
