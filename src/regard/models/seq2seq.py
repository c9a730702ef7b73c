"""Encoder-decoder with recurrent layers, without attention (Sutskever et al. 2014) or with it (Luong et al. 2015).

Without attention all that the decoder knows of the source is one vector, the encoder's last state. With
attention it asks the encoder's states at every step: weights = softmax(score(s_t, h_i)), a_t = sum of weights
times h_i, and what is read out is tanh(W_c [a_t; s_t]).
"""

import math
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from pydantic import Field, model_validator
from torch import Tensor, nn

from regard.attention.additive import Additive
from regard.attention.attention import Attention, Memory
from regard.attention.mask import padding_mask
from regard.attention.record import AttentionRecord
from regard.attention.score import DotProduct, Multiplicative, ScaledDotProduct, Score
from regard.config import base
from regard.layers.dropout import Dropout
from regard.layers.embedding import Embedding
from regard.layers.recurrent import CellName, Recurrent, States, initialise, reverse_within
from regard.operations import of_matrices
from regard.protocol import Batch, Dimensions, Model, Output, State
from regard.symbols import PAD

ScoreName = Literal["none", "dot", "scaled_dot", "multiplicative", "additive"]


class Config(base.Config):
    """Sizes are those of one state: an encoder state h_i (both directions together), a decoder state s_t."""

    kind: Literal["seq2seq"] = "seq2seq"
    cell: CellName = "lstm"
    score: ScoreName = "multiplicative"
    embedding_size: int = Field(256, ge=1)
    encoder_size: int = Field(512, ge=1)  # d1
    decoder_size: int = Field(512, ge=1)  # d2
    encoder_layers: int = Field(1, ge=1)
    decoder_layers: int = Field(1, ge=1)
    bidirectional: bool = True
    attention_size: int | None = Field(None, ge=1)  # d3 of the additive score; None: decoder_size
    input_feeding: bool = False  # the decoder also reads its last tanh(W_c [a; s]), so it goes step by step: slower
    reverse_source: bool = False  # Sutskever et al. 2014, 3.3
    tied: bool = False  # target embedding = readout, and = source embedding where the vocabulary is shared
    dropout: float = Field(0.2, ge=0, lt=1)  # of embeddings, between layers, and before the readout

    @model_validator(mode="after")
    def _fits_together(self) -> "Config":
        if self.score in ("dot", "scaled_dot") and self.encoder_size != self.decoder_size:
            raise ValueError(
                f"score {self.score} needs encoder_size = decoder_size, but they are {self.encoder_size} and "
                f"{self.decoder_size}; make them equal or take score multiplicative or additive"
            )
        if self.bidirectional and self.encoder_size % 2:
            raise ValueError(f"encoder_size {self.encoder_size} is odd: two directions share it; make it even")
        if self.bidirectional and self.reverse_source:
            raise ValueError(
                "reverse_source has no effect on an encoder that reads both ways; leave one of the two out"
            )
        if self.tied and self.embedding_size != self.decoder_size:
            raise ValueError(
                f"tied needs embedding_size = decoder_size, but they are {self.embedding_size} and {self.decoder_size}"
            )
        if self.score != "additive" and self.attention_size is not None:
            raise ValueError(f"attention_size has no effect with score {self.score}; only additive has a hidden layer")
        if self.score == "none" and self.input_feeding:
            raise ValueError("input_feeding has no effect with score none: there is no attention to feed back")
        return self


class Carry(NamedTuple):
    """What a hypothesis remembers: the decoder's states, and tanh(W_c [a; s]) of the last step if it is fed back."""

    states: States
    fed: Float[Tensor, "rows size"] | None


class AttentionalState(nn.Module):
    """s~_t = tanh(W_c [a_t; s_t]): the decoder state together with what it saw (Luong et al. 2015, eq. 5)."""

    def __init__(self, score: Score, *, key_size: int, query_size: int) -> None:
        super().__init__()
        self.attention = Attention(score, site="decoder.cross")
        self.combine = nn.Linear(key_size + query_size, query_size, bias=False)

    def remember(self, states: Float[Tensor, "batch length key_size"], mask: Tensor) -> Memory:
        """Prepare the encoder's states, once for all steps."""
        keys = states.unsqueeze(1)  # one head
        return self.attention.remember(keys, keys, mask)

    def forward(
        self, states: Float[Tensor, "rows queries query_size"], memory: Memory, record: AttentionRecord | None
    ) -> Float[Tensor, "rows queries query_size"]:
        """All queries at once."""
        context = self.attention(states.unsqueeze(1), memory, record=record).squeeze(1)
        return torch.tanh(self.combine(torch.cat([context, states], -1)))

    def flops(self, rows: int, queries: int, keys: int) -> int:
        """Operations of `remember` and of all queries."""
        looked = self.attention.flops(rows, queries, keys, self.combine.in_features - self.combine.out_features)
        return self.attention.score.key_flops(rows * keys) + looked + of_matrices(self.combine, rows * queries)


class Encoder(nn.Module):
    """Embedding and recurrent layers; `reverse` reads the words last to first (positions stay where they were)."""

    def __init__(self, embedding: Embedding, recurrent: Recurrent, *, dropout: float, reverse: bool) -> None:
        super().__init__()
        self.embedding = embedding
        self.recurrent = recurrent
        self.dropout = Dropout(dropout)
        self.reverse = reverse

    def forward(self, source: Int[Tensor, "batch length"]) -> tuple[Float[Tensor, "batch length size"], States]:
        """States h_i of all positions, and the last states of every layer."""
        lengths = (source != PAD).sum(1).clamp(min=1)
        order = reverse_within(lengths, source.size(1)) if self.reverse else None
        embedded = self.dropout(self.embedding(source if order is None else source.gather(1, order)))
        states, final = self.recurrent(embedded, lengths=lengths)
        if order is not None:
            states = states.gather(1, order.unsqueeze(-1).expand_as(states))
        return states, final


class Bridge(nn.Module):
    """The encoder's last states become the decoder's first: h = tanh(B h + b), c = B' c + b', layer by layer."""

    def __init__(self, encoder_size: int, decoder_size: int, *, num_layers: int, has_cell: bool) -> None:
        super().__init__()
        self.hidden = nn.ModuleList(nn.Linear(encoder_size, decoder_size) for _ in range(num_layers))
        self.cell = nn.ModuleList(nn.Linear(encoder_size, decoder_size) for _ in range(num_layers if has_cell else 0))

    def forward(self, final: States) -> States:
        """One decoder layer from one encoder layer."""
        hidden = torch.tanh(_layerwise(self.hidden, final.hidden))
        return States(hidden, None if final.cell is None else _layerwise(self.cell, final.cell))

    def flops(self, rows: int) -> int:
        """Operations on `rows` sentences."""
        return of_matrices(self, rows)


def _layerwise(layers: nn.ModuleList, states: Tensor) -> Tensor:
    return torch.stack([layer(states[:, index]) for index, layer in enumerate(layers)], 1)


class Decoder(nn.Module):
    """Embedding, recurrent layers, and attention over the encoder's states unless `attend` is None."""

    def __init__(
        self,
        embedding: Embedding,
        recurrent: Recurrent,
        attend: AttentionalState | None,
        *,
        dropout: float,
        input_feeding: bool,
    ) -> None:
        super().__init__()
        self.embedding = embedding
        self.recurrent = recurrent
        self.attend = attend
        self.dropout = Dropout(dropout)
        self.input_feeding = input_feeding

    def start(self, states: States) -> Carry:
        """Before the first token; s~_0 = 0."""
        return Carry(states, torch.zeros_like(states.hidden[:, -1]) if self.input_feeding else None)

    def forward(
        self, tokens: Int[Tensor, "batch length"], memory: Memory | None, carry: Carry, record: AttentionRecord | None
    ) -> Float[Tensor, "batch length size"]:
        """What is read out at every position, all tokens given (teacher forcing)."""
        embedded = self.dropout(self.embedding(tokens))
        if self.input_feeding:
            return self._one_by_one(embedded, memory, carry, record)
        states, _ = self.recurrent(embedded, carry.states)
        return self._look(states, memory, record)

    def step(
        self, tokens: Int[Tensor, " rows"], memory: Memory | None, carry: Carry, record: AttentionRecord | None
    ) -> tuple[Float[Tensor, "rows size"], Carry]:
        """The same for one token."""
        return self._advance(self.dropout(self.embedding(tokens)), memory, carry, record)

    def _one_by_one(
        self, embedded: Tensor, memory: Memory | None, carry: Carry, record: AttentionRecord | None
    ) -> Tensor:
        """With input feeding, a step needs what the step before it has seen."""
        looks = None if record is None else record.for_steps()
        outputs = []
        for inputs in embedded.unbind(1):
            output, carry = self._advance(inputs, memory, carry, looks)
            outputs.append(output)
        if record is not None and looks is not None:
            record.add_steps(looks)
        return torch.stack(outputs, 1)

    def _advance(
        self, inputs: Tensor, memory: Memory | None, carry: Carry, record: AttentionRecord | None
    ) -> tuple[Tensor, Carry]:
        if carry.fed is not None:
            inputs = torch.cat([inputs, carry.fed], -1)  # [y_t; s~_{t-1}] (Luong et al. 2015, 3.3)
        state, states = self.recurrent.step(inputs, carry.states)
        output = self._look(state.unsqueeze(1), memory, record).squeeze(1)
        return output, Carry(states, output if self.input_feeding else None)

    def _look(self, states: Tensor, memory: Memory | None, record: AttentionRecord | None) -> Tensor:
        if self.attend is None or memory is None:
            return states
        attentional: Tensor = self.attend(states, memory, record)
        return attentional


class Seq2Seq(Model):
    """Encoder, bridge, decoder, readout; the lecture's V is `readout`."""

    def __init__(self, encoder: Encoder, bridge: Bridge | None, decoder: Decoder, readout: nn.Linear) -> None:
        """Without a bridge the decoder starts from the encoder's last states as they are."""
        super().__init__()
        self.encoder = encoder
        self.bridge = bridge
        self.decoder = decoder
        self.readout = readout
        self.dropout = Dropout(decoder.dropout.probability)

    def forward(self, batch: Batch, record: AttentionRecord | None = None) -> Output:
        """Teacher forcing."""
        memory, carry = self.encode(batch.source)
        return Output(self.dropout(self.decoder(batch.decoder_input, memory, carry, record)), self.readout)

    def flops(self, batch: Batch) -> int:
        """Operations of `forward`: the encoder skips padding, the decoder does not."""
        rows, source = batch.source.shape
        read = int((batch.source != PAD).sum(1).clamp(min=1).sum())
        target = batch.labels.size(1)
        encoder = self.encoder.recurrent.flops(read) + (0 if self.bridge is None else self.bridge.flops(rows))
        decoder = self.decoder.recurrent.flops(rows * target)
        looked = 0 if self.decoder.attend is None else self.decoder.attend.flops(rows, target, source)
        return encoder + decoder + looked + of_matrices(self.readout, batch.num_target_tokens)

    def encode(self, source: Int[Tensor, "batch length"], record: AttentionRecord | None = None) -> State:
        """Read the source once; the memory is None where there is no attention."""
        states, final = self.encoder(source)
        attend = self.decoder.attend
        memory = None if attend is None else attend.remember(states, padding_mask(source))
        start = _meet_at_the_top(final, self.decoder.recurrent.num_layers)
        return State(memory, self.decoder.start(start if self.bridge is None else self.bridge(start)))

    def step(
        self, state: State, tokens: Int[Tensor, " rows"], record: AttentionRecord | None = None
    ) -> tuple[Float[Tensor, "rows vocabulary"], State]:
        """One token a hypothesis; logits of the next."""
        output, carry = self.decoder.step(tokens, state.memory, state.carry, record)
        return self.readout(output), State(state.memory, carry)


def _meet_at_the_top(final: States, num_layers: int) -> States:
    """One encoder layer for each decoder layer, the last for the last; lower ones start from the encoder's first."""
    layers = (torch.arange(num_layers) + final.hidden.size(1) - num_layers).clamp(min=0).tolist()
    return States(final.hidden[:, layers], None if final.cell is None else final.cell[:, layers])


def build(config: Config, dimensions: Dimensions) -> Seq2Seq:
    """The model of `config` with fresh parameters from torch's global generator."""
    scale = math.sqrt(config.embedding_size)  # else the gates hear the bias alone for the first thousand updates
    target = Embedding(dimensions.target, config.embedding_size, scale=scale)
    readout = nn.Linear(config.decoder_size, dimensions.target)
    share = config.tied and dimensions.shared
    source = target if share else Embedding(dimensions.source, config.embedding_size, scale=scale)
    encoder = Recurrent(
        config.cell,
        config.embedding_size,
        size=config.encoder_size // (2 if config.bidirectional else 1),
        num_layers=config.encoder_layers,
        bidirectional=config.bidirectional,
        dropout=config.dropout,
    )
    decoder = Recurrent(
        config.cell,
        config.embedding_size + (config.decoder_size if config.input_feeding else 0),
        size=config.decoder_size,
        num_layers=config.decoder_layers,
        dropout=config.dropout,
    )
    model = Seq2Seq(
        Encoder(source, encoder, dropout=config.dropout, reverse=config.reverse_source),
        _bridge(config),
        Decoder(target, decoder, _attend(config), dropout=config.dropout, input_feeding=config.input_feeding),
        readout,
    )
    model.apply(initialise)
    if config.tied:
        readout.weight = target.weight
    return model


def _bridge(config: Config) -> Bridge | None:
    if config.encoder_size == config.decoder_size and not config.bidirectional:
        return None
    sizes = config.encoder_size, config.decoder_size
    return Bridge(*sizes, num_layers=config.decoder_layers, has_cell=config.cell == "lstm")


def _attend(config: Config) -> AttentionalState | None:
    score = _score(config)
    if score is None:
        return None
    return AttentionalState(score, key_size=config.encoder_size, query_size=config.decoder_size)


def _score(config: Config) -> Score | None:
    sizes = config.decoder_size, config.encoder_size  # of a query s_t and a key h_i
    match config.score:
        case "none":
            return None
        case "dot":
            return DotProduct(*sizes)
        case "scaled_dot":
            return ScaledDotProduct(*sizes)
        case "multiplicative":
            return Multiplicative(*sizes)
        case "additive":
            return Additive(*sizes, config.attention_size or config.decoder_size)
