"""Deep-Att: many LSTM layers, whose linear parts are joined to a way around all gates (Zhou et al. 2016).

a layer:  f^k_t = W_f [Half(f^{k-1}_t); h^{k-1}_t], and h^k_t = LSTM on f^k_t: its gates are f^k_t + W_h h^k_{t-1} + b
encoder:  two columns of such layers, whose directions alternate: the one reads forward, backward, forward, ..., the
          other backward, forward, ...; e_t = [h; h'; f; f'] of both tops
decoder:  c_t = attention(h^1_{t-1}, e), f^1_t = W_f [word_t; c_t], and more layers on top; the readout is of the last h

The way of the f's (fast-forward connections) is linear from the words to the top, so that the gradient reaches the
lowest of sixteen layers. f^k is what torch's LSTM computes from its inputs before the gates: `weight_ih` is W_f.

Where restatements of the paper differ or are silent: Half is the first half of the units (those of the gates i and
f); keys are a projection of e to `memory_size`, values are e; cells have no peepholes; all states begin with zeros.
"""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Int
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from regard.attention.additive import Additive
from regard.attention.attention import Attention, Memory
from regard.attention.mask import padding_mask
from regard.attention.record import AttentionRecord
from regard.config.presets import Presets, WithPresets
from regard.layers.dropout import Dropout
from regard.layers.embedding import Embedding
from regard.layers.recurrent import Recurrent, States, follow, initialise, reverse_within
from regard.layers.stack import Stack
from regard.operations import of_matrices
from regard.protocol import Batch, Dimensions, Model, Output, State
from regard.symbols import PAD


class Config(WithPresets):
    """Deep-Att. `preset` gives what is not said; without `fast_forward` a layer reads only the h below it."""

    presets: ClassVar[Presets] = {
        "small": {
            "size": 192,
            "embedding_size": 192,
            "encoder_layers": 4,
            "decoder_layers": 3,
            "memory_size": 384,
            "tied": True,
            "dropout": 0.2,
        },
        "paper": {
            "size": 512,
            "embedding_size": 256,
            "encoder_layers": 9,
            "decoder_layers": 7,
            "memory_size": 1280,
            "tied": False,
            "dropout": 0.1,
        },
    }

    kind: Literal["deep_att"] = "deep_att"
    preset: Literal["small", "paper"] = "small"
    size: int = Field(192, ge=1)  # of every h; f has four times as many units
    embedding_size: int = Field(192, ge=1)
    encoder_layers: int = Field(4, ge=1)  # of each of the two columns
    decoder_layers: int = Field(3, ge=1)
    memory_size: int = Field(384, ge=1)  # of a key
    fast_forward: bool = True
    tied: bool = True  # readout = target embedding, and = source embedding where the vocabulary is shared
    dropout: float = Field(0.2, ge=0, lt=1)  # of every h that a layer, the attention or the readout reads; never of f

    @model_validator(mode="after")
    def _can_be_tied(self) -> "Config":
        if self.tied and self.embedding_size != self.size:
            raise ValueError(f"tied needs embedding_size = size, but they are {self.embedding_size} and {self.size}")
        return self


class Layer(nn.Module):
    """f = W_f x and h = LSTM on f; x is what `above` makes of the layer below, or a word."""

    def __init__(self, input_size: int, size: int, *, fast_forward: bool, dropout: float) -> None:
        super().__init__()
        self.recurrent = Recurrent("lstm", input_size, size=size)
        self.fast_forward = fast_forward
        self.dropout = Dropout(dropout)

    def linear(self, inputs: Float[Tensor, "*batch input_size"], *, half: bool = True) -> Float[Tensor, "*batch units"]:
        """Half(f) = the first half of W_f x, or all of it. The LSTM makes its own, since a fused kernel keeps none."""
        weight = self._matrix
        return functional.linear(inputs, weight[: len(weight) // 2] if half else weight)

    def above(self, inputs: Tensor, hidden: Tensor) -> Float[Tensor, "*batch input_size"]:
        """What the next layer reads: [Half(f); dropout(h)]."""
        hidden = self.dropout(hidden)
        return torch.cat([self.linear(inputs), hidden], -1) if self.fast_forward else hidden

    def linear_flops(self, rows: int, *, half: bool = True) -> int:
        """Operations of `linear`."""
        return rows * self._matrix.numel() * (1 if half else 2)

    @property
    def _matrix(self) -> Tensor:
        return self.recurrent.kernel.get_parameter("weight_ih_l0")


def _layers(config: Config, input_size: int, number: int) -> Stack[Layer]:
    above = 3 * config.size if config.fast_forward else config.size
    return Stack(
        Layer(above if n else input_size, config.size, fast_forward=config.fast_forward, dropout=config.dropout)
        for n in range(number)
    )


class Encoder(nn.Module):
    """Two columns. A direction is that of a layer: what is passed up stands at its place in the sentence."""

    def __init__(self, embedding: Embedding, config: Config) -> None:
        super().__init__()
        self.embedding = embedding
        self.columns = Stack(_layers(config, config.embedding_size, config.encoder_layers) for _ in range(2))
        self.dropout = Dropout(config.dropout)

    def forward(self, source: Int[Tensor, "batch length"]) -> Float[Tensor, "batch length memory_size"]:
        """What e is at all positions. Behind a sentence's end stands something that nobody before it can see."""
        order = reverse_within((source != PAD).sum(1), source.size(1)).unsqueeze(-1)
        words = self.embedding(source)
        tops = [self._climb(column, words, order, backward) for backward, column in enumerate(self.columns)]
        return torch.cat([part for top in zip(*tops, strict=True) for part in top], -1)

    def flops(self, positions: int) -> int:
        """Operations at so many positions."""
        total = 0
        for column in self.columns:
            total += sum(layer.recurrent.flops(positions) for layer in column)
            if column[0].fast_forward:
                *lower, top = column
                total += sum(layer.linear_flops(positions) for layer in lower) + top.linear_flops(positions, half=False)
        return total

    def _climb(self, column: Stack[Layer], words: Tensor, order: Tensor, backward: int) -> list[Tensor]:
        """The top's h and, with fast-forward connections, its f; layer n reads backward where n + `backward` is odd."""
        inputs, layers = words, list(column)
        for number, layer in enumerate(layers):
            hidden = _read(layer, inputs, order if (number + backward) % 2 else None)
            if number < len(layers) - 1:
                inputs = layer.above(inputs, hidden)
        hidden = self.dropout(hidden)
        return [hidden, layers[-1].linear(inputs, half=False)] if layers[-1].fast_forward else [hidden]


def _read(layer: Layer, inputs: Tensor, order: Tensor | None) -> Tensor:
    if order is None:
        return layer.recurrent(inputs)[0]
    states, _ = layer.recurrent(inputs.gather(1, order.expand_as(inputs)))
    return states.gather(1, order.expand_as(states))  # reversing twice changes nothing


class Decoder(nn.Module):
    """The lowest layer asks before every step, with its last state; the others read whole sequences."""

    def __init__(self, embedding: Embedding, config: Config) -> None:
        super().__init__()
        self.embedding = embedding
        value_size = (10 if config.fast_forward else 2) * config.size
        self.key = nn.Linear(value_size, config.memory_size, bias=False)
        self.attention = Attention(Additive(config.size, config.memory_size, config.size), site="decoder.cross")
        self.layers = _layers(config, config.embedding_size + value_size, config.decoder_layers)

    def remember(self, states: Float[Tensor, "batch length value_size"], mask: Tensor) -> Memory:
        """Keys W_p e and values e, once for all steps."""
        return self.attention.remember(self.key(states).unsqueeze(1), states.unsqueeze(1), mask)

    def start(self, num_rows: int) -> tuple[States, ...]:
        """Zeros, for every layer its own."""
        zeros = self.embedding.weight.new_zeros(num_rows, 1, self.layers[0].recurrent.kernel.hidden_size)
        return tuple(States(zeros, zeros) for _ in self.layers)

    def forward(
        self, tokens: Int[Tensor, "batch length"], memory: Memory, record: AttentionRecord | None
    ) -> Float[Tensor, "batch length size"]:
        """The top layer's h, all tokens given (teacher forcing)."""
        steps = None if record is None else record.for_steps()
        words, lowest = self.embedding(tokens), self.layers[0].recurrent
        start = self.start(len(tokens))[0]
        hidden, contexts, _ = follow(lowest, words, start, lambda query: self._look(query, memory, steps))
        if record is not None and steps is not None:
            record.add_steps(steps)
        return self._climb(torch.cat([words, contexts], -1), hidden, lambda layer, inputs: layer.recurrent(inputs)[0])

    def step(
        self, tokens: Int[Tensor, " rows"], memory: Memory, carry: tuple[States, ...], record: AttentionRecord | None
    ) -> tuple[Float[Tensor, "rows size"], tuple[States, ...]]:
        """The same for one token."""
        context = self._look(carry[0].hidden[:, -1], memory, record)
        inputs = torch.cat([self.embedding(tokens), context], -1)
        hidden, lowest = self.layers[0].recurrent.step(inputs, carry[0])
        new = [lowest]

        def advance(layer: Layer, inputs: Tensor) -> Tensor:
            hidden, states = layer.recurrent.step(inputs, carry[len(new)])
            new.append(states)
            return hidden

        return self._climb(inputs, hidden, advance), tuple(new)

    def flops(self, rows: int, target: int, source: int) -> int:
        """Operations on `rows` sentences, those of `remember` among them."""
        looked = self.attention.flops(rows, target, source, self.key.in_features)
        keys = of_matrices(self.key, rows * source) + self.attention.score.key_flops(rows * source)
        *lower, top = self.layers
        read = sum(layer.recurrent.flops(rows * target) for layer in (*lower, top))
        passed = sum(layer.linear_flops(rows * target) for layer in lower) if top.fast_forward else 0
        return looked + keys + read + passed

    def _look(self, query: Tensor, memory: Memory, record: AttentionRecord | None) -> Tensor:
        """c_t for queries (rows, size), one a row."""
        return self.attention(query[:, None, None], memory, record=record)[:, 0, 0]

    def _climb(self, inputs: Tensor, hidden: Tensor, read: Callable[[Layer, Tensor], Tensor]) -> Tensor:
        """From the lowest layer's inputs and h to the top's h; `read(layer, inputs)` is the h of a layer above it."""
        layers = list(self.layers)
        for below, layer in pairwise(layers):
            inputs = below.above(inputs, hidden)
            hidden = read(layer, inputs)
        return hidden


class DeepAtt(Model):
    """Encoder, decoder, readout."""

    def __init__(self, encoder: Encoder, decoder: Decoder, readout: nn.Linear) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.readout = readout
        self.dropout = Dropout(encoder.dropout.probability)

    def forward(self, batch: Batch, record: AttentionRecord | None = None) -> Output:
        """Teacher forcing."""
        states = self.decoder(batch.decoder_input, self._remember(batch.source), record)
        return Output(self.dropout(states), self.readout)

    def flops(self, batch: Batch) -> int:
        """Operations of `forward`; padding is computed with the rest, but not read out."""
        rows, source = batch.source.shape
        decoded = self.decoder.flops(rows, batch.labels.size(1), source)
        return self.encoder.flops(rows * source) + decoded + of_matrices(self.readout, batch.num_target_tokens)

    def encode(self, source: Int[Tensor, "batch length"], record: AttentionRecord | None = None) -> State:
        """Read the source once."""
        return State(self._remember(source), self.decoder.start(len(source)))

    def step(
        self, state: State, tokens: Int[Tensor, " rows"], record: AttentionRecord | None = None
    ) -> tuple[Float[Tensor, "rows vocabulary"], State]:
        """One token a hypothesis; logits of the next."""
        output, carry = self.decoder.step(tokens, state.memory, state.carry, record)
        return self.readout(output), State(state.memory, carry)

    def _remember(self, source: Tensor) -> Memory:
        return self.decoder.remember(self.encoder(source), padding_mask(source))


def build(config: Config, dimensions: Dimensions) -> DeepAtt:
    """The model of `config` with fresh parameters from torch's global generator."""
    # Unit variance: a fresh LSTM layer passes on about a quarter of what is small, and there are many of them.
    scale = math.sqrt(config.embedding_size)
    target = Embedding(dimensions.target, config.embedding_size, scale=scale)
    readout = nn.Linear(config.size, dimensions.target)
    share = config.tied and dimensions.shared
    source = target if share else Embedding(dimensions.source, config.embedding_size, scale=scale)
    model = DeepAtt(Encoder(source, config), Decoder(target, config), readout)
    model.apply(initialise)
    if config.tied:
        readout.weight = target.weight
    return model
