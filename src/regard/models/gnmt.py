"""GNMT: a deep stack of LSTM layers with residual connections, attended to from the bottom (Wu et al. 2016).

encoder: x^1 = [forward LSTM; backward LSTM], x^2 = LSTM(x^1), x^k = LSTM(x^{k-1}) + x^{k-1} from the third on
decoder: a_t = attention(y^1_{t-1}, x^K), y^1_t = LSTM([word_t; a_t]), and above it y^k_t = LSTM([y^{k-1}_t; a_t])
         (+ y^{k-1}_t from the third on); the readout is of the top layer alone.

Only the decoder's bottom layer needs a_t before it can go on, and a_t needs nothing from above: so the bottom
goes step by step, and everything else reads whole sequences.

Public implementations differ. The one of TensorFlow's tutorial is this one as `gnmt` and gives a_{t+1} to the layers
above the bottom as `gnmt_v2`; NVIDIA's does the latter and gives no context to the bottom layer, and so has no
recurrence through attention. Both let the decoder begin where the encoder ends; here it begins with zeros, and
the source reaches it through attention alone.
"""

import math
from collections.abc import Callable
from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn

from regard.attention.additive import Additive
from regard.attention.attention import Attention, Memory
from regard.attention.mask import padding_mask
from regard.attention.record import AttentionRecord
from regard.config.presets import Presets, WithPresets
from regard.layers.dropout import Dropout
from regard.layers.embedding import Embedding
from regard.layers.recurrent import Recurrent, States, follow, initialise
from regard.layers.stack import Stack
from regard.operations import of_matrices
from regard.protocol import Batch, Dimensions, Model, Output, State
from regard.symbols import PAD


class Config(WithPresets):
    """GNMT. `preset` gives what is not said; `size` is that of embeddings, of every layer and of the attention."""

    presets: ClassVar[Presets] = {
        "small": {"size": 256, "encoder_layers": 4, "decoder_layers": 4, "dropout": 0.3, "tied": True},
        "paper": {"size": 1024, "encoder_layers": 8, "decoder_layers": 8, "dropout": 0.2, "tied": False},
    }

    kind: Literal["gnmt"] = "gnmt"
    preset: Literal["small", "paper"] = "small"
    size: int = Field(256, ge=1)
    encoder_layers: int = Field(4, ge=2)  # the first reads both ways, the others forward
    decoder_layers: int = Field(4, ge=1)
    tied: bool = True  # readout = target embedding, and = source embedding where the vocabulary is shared
    dropout: float = Field(0.3, ge=0, lt=1)  # of what each layer reads from below, and before the readout


class Encoder(nn.Module):
    """The bottom layer reads both ways, [forward; backward] of `size` each; residuals start at the third layer."""

    def __init__(self, embedding: Embedding, *, size: int, num_layers: int, dropout: float) -> None:
        super().__init__()
        self.embedding = embedding
        self.bottom = Recurrent("lstm", size, size=size, bidirectional=True)
        self.upper = Stack(Recurrent("lstm", size if n else 2 * size, size=size) for n in range(num_layers - 1))
        self.dropout = Dropout(dropout)

    def forward(self, source: Int[Tensor, "batch length"]) -> Float[Tensor, "batch length size"]:
        """The top layer's states. Behind a sentence's end stands something that nobody before it can see."""
        lengths = (source != PAD).sum(1).clamp(min=1)
        both, _ = self.bottom(self.dropout(self.embedding(source)), lengths=lengths)
        states, _ = self.upper[0](self.dropout(both))
        for layer in list(self.upper)[1:]:
            states = states + layer(self.dropout(states))[0]
        return states


class Decoder(nn.Module):
    """The bottom layer asks, all layers hear the answer."""

    def __init__(self, embedding: Embedding, *, size: int, num_layers: int, dropout: float) -> None:
        super().__init__()
        self.embedding = embedding
        self.attention = Attention(Additive(size, size, size), site="decoder.cross")
        self.bottom = Recurrent("lstm", 2 * size, size=size)
        self.upper = Stack(Recurrent("lstm", 2 * size, size=size) for _ in range(num_layers - 1))
        self.dropout = Dropout(dropout)

    def remember(self, states: Float[Tensor, "batch length size"], mask: Tensor) -> Memory:
        """Prepare the encoder's states, once for all steps."""
        keys = states.unsqueeze(1)  # one head
        return self.attention.remember(keys, keys, mask)

    def start(self, batch_size: int) -> tuple[States, ...]:
        """Zeros, for every layer its own."""
        zeros = self.embedding.weight.new_zeros(batch_size, 1, self.bottom.kernel.hidden_size)
        return tuple(States(zeros, zeros) for _ in range(1 + len(self.upper)))

    def forward(
        self, tokens: Int[Tensor, "batch length"], memory: Memory, record: AttentionRecord | None
    ) -> Float[Tensor, "batch length size"]:
        """The top layer's states, all tokens given (teacher forcing)."""
        steps = None if record is None else record.for_steps()
        bottom, *_ = self.start(len(tokens))
        embedded = self.dropout(self.embedding(tokens))
        states, contexts, _ = follow(self.bottom, embedded, bottom, lambda query: self._look(query, memory, steps))
        if record is not None and steps is not None:
            record.add_steps(steps)
        return self._rise(states, contexts, lambda number, inputs: self.upper[number](inputs)[0])

    def step(
        self,
        tokens: Int[Tensor, " rows"],
        memory: Memory,
        carry: tuple[States, ...],
        record: AttentionRecord | None,
    ) -> tuple[Float[Tensor, "rows size"], tuple[States, ...]]:
        """The same for one token."""
        context = self._look(carry[0].hidden[:, -1], memory, record)
        embedded = self.dropout(self.embedding(tokens))
        state, bottom = self.bottom.step(torch.cat([embedded, context], -1), carry[0])
        new = [bottom]

        def advance(number: int, inputs: Tensor) -> Tensor:
            output, states = self.upper[number].step(inputs, carry[number + 1])
            new.append(states)
            return output

        return self._rise(state, context, advance), tuple(new)

    def _look(self, query: Tensor, memory: Memory, record: AttentionRecord | None) -> Tensor:
        """a_t for queries (rows, size), one a row."""
        return self.attention(query[:, None, None], memory, record=record)[:, 0, 0]

    def _rise(self, states: Tensor, contexts: Tensor, layer: Callable[[int, Tensor], Tensor]) -> Tensor:
        """Through the layers above the bottom: `layer(number, inputs)`. The context is read, but not added."""
        for number in range(len(self.upper)):
            output = layer(number, torch.cat([self.dropout(states), contexts], -1))
            states = output if number == 0 else states + output
        return states


class GNMT(Model):
    """Encoder, decoder, readout."""

    def __init__(self, encoder: Encoder, decoder: Decoder, readout: nn.Linear) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.readout = readout
        self.dropout = Dropout(decoder.dropout.probability)

    def forward(self, batch: Batch, record: AttentionRecord | None = None) -> Output:
        """Teacher forcing."""
        states = self.decoder(batch.decoder_input, self._memory(batch.source), record)
        return Output(self.dropout(states), self.readout)

    def flops(self, batch: Batch) -> int:
        """Operations of `forward`: only the encoder's bottom layer skips padding."""
        rows, source = batch.source.shape
        target, encoder, decoder = batch.labels.size(1), self.encoder, self.decoder
        read = int((batch.source != PAD).sum(1).clamp(min=1).sum())
        encoded = encoder.bottom.flops(read) + sum(layer.flops(rows * source) for layer in encoder.upper)
        decoded = sum(layer.flops(rows * target) for layer in (decoder.bottom, *decoder.upper))
        looked = decoder.attention.flops(rows, target, source, self.readout.in_features)
        looked += decoder.attention.score.key_flops(rows * source)
        return encoded + decoded + looked + of_matrices(self.readout, batch.num_target_tokens)

    def encode(self, source: Int[Tensor, "batch length"], record: AttentionRecord | None = None) -> State:
        """Read the source once."""
        return State(self._memory(source), self.decoder.start(len(source)))

    def step(
        self, state: State, tokens: Int[Tensor, " rows"], record: AttentionRecord | None = None
    ) -> tuple[Float[Tensor, "rows vocabulary"], State]:
        """One token a hypothesis; logits of the next."""
        output, carry = self.decoder.step(tokens, state.memory, state.carry, record)
        return self.readout(output), State(state.memory, carry)

    def _memory(self, source: Tensor) -> Memory:
        return self.decoder.remember(self.encoder(source), padding_mask(source))


def build(config: Config, dimensions: Dimensions) -> GNMT:
    """The model of `config` with fresh parameters from torch's global generator."""
    # Unit variance: a fresh LSTM layer passes on about a quarter of what is small, and there are many of them.
    scale = math.sqrt(config.size)
    target = Embedding(dimensions.target, config.size, scale=scale)
    readout = nn.Linear(config.size, dimensions.target)
    share = config.tied and dimensions.shared
    source = target if share else Embedding(dimensions.source, config.size, scale=scale)
    model = GNMT(
        Encoder(source, size=config.size, num_layers=config.encoder_layers, dropout=config.dropout),
        Decoder(target, size=config.size, num_layers=config.decoder_layers, dropout=config.dropout),
        readout,
    )
    model.apply(initialise)
    if config.tied:
        readout.weight = target.weight
    return model
