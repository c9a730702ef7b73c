"""The reader of language models: LSTMs whose noise stays the same at every step (Merity et al. 2018, AWD-LSTM).

Weights that connect a state with its past are dropped once a batch (DropConnect), words are dropped everywhere in a
text at once, and what passes between the layers is dropped alike at every word of a text.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from regard.config import base
from regard.layers.embedding import Embedding
from regard.layers.recurrent import CellName, Recurrent, States
from regard.layers.stack import Stack

_FUNCTIONS: dict[CellName, Callable[..., Any]] = {"rnn": torch.rnn_tanh, "lstm": torch.lstm, "gru": torch.gru}


class ReaderConfig(base.Config):
    """Sizes and noise of the reader; every `dropout` is the share that is dropped."""

    cell: CellName = "lstm"
    embedding_size: int = Field(128, ge=1)
    size: int = Field(256, ge=1)  # of all layers but the last, whose size is `embedding_size`
    num_layers: int = Field(2, ge=1)
    word_dropout: float = Field(0.05, ge=0, lt=1)  # of words, as a whole
    input_dropout: float = Field(0.2, ge=0, lt=1)  # of embeddings
    hidden_dropout: float = Field(0.15, ge=0, lt=1)  # between layers
    weight_dropout: float = Field(0.2, ge=0, lt=1)  # of W, which connects h_t with h_(t-1)
    output_dropout: float = Field(0.2, ge=0, lt=1)  # of the last layer


class LockedDropout(nn.Module):
    """Dropout with the same mask at every place of a sequence, another one in every row (Gal and Ghahramani 2016)."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, states: Float[Tensor, "batch length size"]) -> Float[Tensor, "batch length size"]:
        """The states themselves in evaluation."""
        if not self.training or not self.probability:
            return states
        return states * functional.dropout(states.new_ones(states.size(0), 1, states.size(2)), self.probability)


class WeightDropped(Recurrent):
    """One recurrent layer; while training, every weight of W (`weight_hh`) is 0 with `weight_dropout` in all steps."""

    def __init__(self, cell: CellName, input_size: int, *, size: int, weight_dropout: float) -> None:
        super().__init__(cell, input_size, size=size)
        self.weight_dropout = weight_dropout
        self._function = _FUNCTIONS[cell]

    def forward(
        self,
        inputs: Float[Tensor, "batch length input_size"],
        states: States | None = None,
        lengths: Int[Tensor, " batch"] | None = None,
    ) -> tuple[Float[Tensor, "batch length size"], States]:
        """As `Recurrent.forward`. While weights are dropped it reads padding too, which nothing before it can see.

        Raises:
            ValueError: states at the end of shorter rows were asked for while training.
        """
        if not self.training or not self.weight_dropout:
            return super().forward(inputs, states, lengths)
        if lengths is not None:
            raise ValueError("while weights are dropped, rows of different lengths have no last states of their own")
        w_ih, w_hh, *biases = (getattr(self.kernel, f"{name}_l0") for name in ("weight_ih", "weight_hh", *_BIASES))
        dropped = [w_ih, functional.dropout(w_hh, self.weight_dropout), *biases]
        zeros = inputs.new_zeros(1, inputs.size(0), self.kernel.hidden_size)
        start = self._to_kernel(States(zeros.transpose(0, 1)) if states is None else states)
        if states is None and self._function is torch.lstm:
            start = (zeros, zeros)
        # Arguments: biases are there, one layer, no dropout between layers, training, one direction, batch first.
        outputs, *final = self._function(inputs, start, dropped, True, 1, 0.0, True, False, True)
        return outputs, self._from_kernel((final[0], final[1]) if len(final) > 1 else final[0])


_BIASES = ("bias_ih", "bias_hh")


class AwdOutput(NamedTuple):
    """The last layer's states before and after dropout, and what every layer remembers."""

    raw: Float[Tensor, "batch length size"]
    dropped: Float[Tensor, "batch length size"]
    states: tuple[States, ...]


class AwdReader(nn.Module):
    """Embedding and layers. The last layer is as wide as an embedding, so that one matrix can serve both ends."""

    def __init__(self, num_tokens: int, config: ReaderConfig) -> None:
        super().__init__()
        self.embedding = Embedding(num_tokens, config.embedding_size)
        sizes = [config.embedding_size, *[config.size] * (config.num_layers - 1), config.embedding_size]
        self.layers = Stack(
            WeightDropped(config.cell, read, size=size, weight_dropout=config.weight_dropout)
            for read, size in pairwise(sizes)
        )
        self.word_dropout = config.word_dropout
        self.input_dropout = LockedDropout(config.input_dropout)
        self.hidden_dropout = LockedDropout(config.hidden_dropout)
        self.output_dropout = LockedDropout(config.output_dropout)

    def forward(self, tokens: Int[Tensor, "batch length"], states: tuple[States, ...] | None = None) -> AwdOutput:
        """The states at all places; reading starts from zeros, or goes on from `states`."""
        hidden = self.input_dropout(self._embed(tokens))
        remembered = []
        for number, layer in enumerate(self.layers):
            raw, final = layer(hidden, None if states is None else states[number])
            remembered.append(final)
            hidden = self.hidden_dropout(raw) if number < len(self.layers) - 1 else self.output_dropout(raw)
        return AwdOutput(raw, hidden, tuple(remembered))

    def step(
        self, tokens: Int[Tensor, " rows"], states: tuple[States, ...]
    ) -> tuple[Float[Tensor, "rows size"], tuple[States, ...]]:
        """One token further, in evaluation."""
        hidden, remembered = self.embedding(tokens), []
        for layer, past in zip(self.layers, states, strict=True):
            hidden, now = layer.step(hidden, past)
            remembered.append(now)
        return hidden, tuple(remembered)

    def start(self, rows: int) -> tuple[States, ...]:
        """Zeros, for every layer its own."""
        found = []
        for layer in self.layers:
            zeros = self.embedding.weight.new_zeros(rows, 1, layer.kernel.hidden_size)
            found.append(States(zeros, zeros if isinstance(layer.kernel, nn.LSTM) else None))
        return tuple(found)

    def flops(self, num_tokens: int) -> int:
        """Operations of reading so many tokens, padding among them."""
        return sum(layer.flops(num_tokens) for layer in self.layers)

    def _embed(self, tokens: Tensor) -> Tensor:
        embedded: Tensor = self.embedding(tokens)
        if not self.training or not self.word_dropout:
            return embedded
        weight = self.embedding.weight
        kept = functional.dropout(weight.new_ones(weight.size(0), 1), self.word_dropout)
        return embedded * kept[tokens]
