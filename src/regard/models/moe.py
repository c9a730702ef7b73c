"""Mixtures of experts between LSTM layers, in an encoder-decoder with attention (Shazeer et al. 2017).

source -> embedding -> LSTM both ways -> LSTM ... -> experts -> LSTM -> memory
target -> embedding -> LSTM -> asks the memory -> LSTM ... -> experts -> LSTM -> readout

Every layer above the first, also the experts, adds to what it reads (a residual connection). The lowest layer of
the decoder asks the memory, and all layers above it read what it saw beside its state, as in GNMT. Unlike
there, the lowest layer does not read what was seen a step before: so training needs no loop over time.
"""

import math
from functools import partial
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor, nn

import regard.config.base
from regard.attention.additive import Additive
from regard.attention.attention import Attention, Memory
from regard.attention.mask import padding_mask
from regard.attention.record import AttentionRecord
from regard.attention.score import DotProduct, Multiplicative, ScaledDotProduct, Score
from regard.layers.dropout import Dropout
from regard.layers.embedding import Embedding
from regard.layers.experts import Experts, ExpertsConfig, Routing, total_penalty
from regard.layers.fully_connected import FullyConnected
from regard.layers.recurrent import Recurrent, States, initialise
from regard.layers.stack import Stack
from regard.operations import of_matrices
from regard.protocol import Batch, Dimensions, Model, Output, State

_SCORES: dict[str, type[DotProduct] | type[Multiplicative]] = {
    "dot": DotProduct,
    "scaled_dot": ScaledDotProduct,
    "multiplicative": Multiplicative,
}


class Config(regard.config.base.Config):
    """`size` is that of everything that is added up: embeddings, states, contexts."""

    kind: Literal["moe"] = "moe"
    size: int = Field(256, ge=2, multiple_of=2)  # even: the two directions of the lowest layer share it
    encoder_layers: int = Field(3, ge=2)  # of LSTM; the experts stand below the last one
    decoder_layers: int = Field(2, ge=2)
    experts: ExpertsConfig = ExpertsConfig.model_validate({})
    expert_size: int = Field(512, ge=1)  # hidden units of one expert
    score: Literal["dot", "scaled_dot", "multiplicative", "additive"] = "additive"
    tied: bool = False  # target embedding = readout, and = source embedding where the vocabulary is shared
    dropout: float = Field(0.2, ge=0, lt=1)  # of what every layer reads, of what the experts say, before the readout


class Residual(nn.Module):
    """x + LSTM([dropout(x); context]), one layer, in one direction."""

    def __init__(self, size: int, *, context_size: int = 0, dropout: float) -> None:
        super().__init__()
        self.recurrent = Recurrent("lstm", size + context_size, size=size)
        self.dropout = Dropout(dropout)

    def forward(
        self,
        inputs: Float[Tensor, "batch length size"],
        lengths: Int[Tensor, " batch"] | None = None,
        *,
        context: Float[Tensor, "batch length context_size"] | None = None,
        states: States | None = None,
    ) -> Float[Tensor, "batch length size"]:
        """All positions at once, from zeros unless `states` are given."""
        outputs, _ = self.recurrent(_beside(self.dropout(inputs), context), states, lengths)
        return inputs + outputs

    def step(
        self, inputs: Float[Tensor, "rows size"], context: Float[Tensor, "rows context_size"], states: States
    ) -> tuple[Float[Tensor, "rows size"], States]:
        """The next position."""
        outputs, states = self.recurrent.step(_beside(self.dropout(inputs), context), states)
        return inputs + outputs, states


def _beside(inputs: Tensor, context: Tensor | None) -> Tensor:
    return inputs if context is None else torch.cat([inputs, context], -1)


class Mixture(nn.Module):
    """x + dropout(experts(x))."""

    def __init__(self, config: Config, site: str) -> None:
        super().__init__()
        networks = (FullyConnected(config.size, config.expert_size) for _ in range(config.experts.number))
        self.experts = Experts(networks, config.size, site=site, **config.experts.model_dump(exclude={"number"}))
        self.dropout = Dropout(config.dropout)

    def forward(
        self,
        inputs: Float[Tensor, "batch length size"],
        mask: Bool[Tensor, "batch length"] | None = None,
        routings: list[Routing] | None = None,
    ) -> Float[Tensor, "batch length size"]:
        """Each real token asks the experts that it chooses."""
        return self.dropout.add(inputs, self.experts(inputs, mask, routings))


class Encoder(nn.Module):
    """The lowest layer reads both ways, so that every state has seen the whole sentence."""

    def __init__(self, embedding: Embedding, config: Config) -> None:
        super().__init__()
        self.embedding = embedding
        self.dropout = Dropout(config.dropout)
        self.both_ways = Recurrent("lstm", config.size, size=config.size // 2, bidirectional=True)
        self.lower = Stack(Residual(config.size, dropout=config.dropout) for _ in range(config.encoder_layers - 2))
        self.mixture = Mixture(config, "encoder.experts")
        self.top = Residual(config.size, dropout=config.dropout)

    def forward(
        self, source: Int[Tensor, "batch length"], routings: list[Routing] | None
    ) -> Float[Tensor, "batch length size"]:
        """The states of all positions."""
        mask = padding_mask(source)
        lengths = mask.sum(1).clamp(min=1)
        states, _ = self.both_ways(self.dropout(self.embedding(source)), lengths=lengths)
        for layer in self.lower:
            states = layer(states, lengths)
        top: Tensor = self.top(self.mixture(states, mask, routings), lengths)
        return top


class Carry(NamedTuple):
    """What a hypothesis remembers: the states of the lowest layer, of those between, and of the top."""

    lowest: States
    lower: tuple[States, ...]
    top: States


class Decoder(nn.Module):
    """It starts from zeros: what it knows of the source, it knows by attention."""

    def __init__(self, embedding: Embedding, config: Config) -> None:
        super().__init__()
        self.embedding = embedding
        self.dropout = Dropout(config.dropout)
        self.lowest = Recurrent("lstm", config.size, size=config.size)
        self.attention = Attention(_score(config), site="decoder.cross")
        above = partial(Residual, config.size, context_size=config.size, dropout=config.dropout)
        self.lower = Stack(above() for _ in range(config.decoder_layers - 2))
        self.mixture = Mixture(config, "decoder.experts")
        self.top = above()

    def remember(self, states: Float[Tensor, "batch length size"], mask: Tensor) -> Memory:
        """Prepare the encoder's states, once for all steps."""
        keys = states.unsqueeze(1)  # one head
        return self.attention.remember(keys, keys, mask)

    def start(self, num_rows: int) -> Carry:
        """Zeros."""
        zeros = self.embedding.weight.new_zeros(num_rows, 1, self.embedding.weight.size(1))
        return Carry(States(zeros, zeros), tuple(States(zeros, zeros) for _ in self.lower), States(zeros, zeros))

    def forward(
        self,
        tokens: Int[Tensor, "batch length"],
        memory: Memory,
        mask: Bool[Tensor, "batch length"],
        record: AttentionRecord | None,
        routings: list[Routing] | None,
    ) -> Float[Tensor, "batch length size"]:
        """What is read out at every position, all tokens given (teacher forcing)."""
        states, _ = self.lowest(self.dropout(self.embedding(tokens)))
        context = self._look(states, memory, record)
        for layer in self.lower:
            states = layer(states, context=context)
        top: Tensor = self.top(self.mixture(states, mask, routings), context=context)
        return top

    def step(
        self, tokens: Int[Tensor, " rows"], memory: Memory, carry: Carry, record: AttentionRecord | None
    ) -> tuple[Float[Tensor, "rows size"], Carry]:
        """The same for one token."""
        state, lowest = self.lowest.step(self.dropout(self.embedding(tokens)), carry.lowest)
        context = self._look(state.unsqueeze(1), memory, record).squeeze(1)
        lower = []
        for layer, past in zip(self.lower, carry.lower, strict=True):
            state, past = layer.step(state, context, past)
            lower.append(past)
        state, top = self.top.step(self.mixture(state.unsqueeze(1)).squeeze(1), context, carry.top)
        return state, Carry(lowest, tuple(lower), top)

    def _look(self, states: Tensor, memory: Memory, record: AttentionRecord | None) -> Tensor:
        context: Tensor = self.attention(states.unsqueeze(1), memory, record=record)
        return self.dropout(context.squeeze(1))


class MixtureOfExperts(Model):
    """Encoder, decoder, readout."""

    def __init__(self, config: Config, dimensions: Dimensions) -> None:
        super().__init__()
        # Unit variance: a fresh LSTM layer passes on about a quarter of what is small, and there are many of them.
        scale = math.sqrt(config.size)
        target = Embedding(dimensions.target, config.size, scale=scale)
        share = config.tied and dimensions.shared
        source = target if share else Embedding(dimensions.source, config.size, scale=scale)
        self.encoder = Encoder(source, config)
        self.decoder = Decoder(target, config)
        self.dropout = Dropout(config.dropout)
        self.readout = nn.Linear(config.size, dimensions.target)
        self.apply(initialise)
        if config.tied:
            self.readout.weight = target.weight

    def forward(self, batch: Batch, record: AttentionRecord | None = None) -> Output:
        """Teacher forcing. The penalty is there while training only."""
        routings: list[Routing] = []
        states = self._decode(batch, record, routings if self.training else None)
        return Output(self.dropout(states), self.readout, total_penalty(routings, padding_mask(batch.labels)))

    def flops(self, batch: Batch) -> int:
        """Operations of `forward`: encoder and experts skip padding, the decoder's LSTM layers do not."""
        rows, source = batch.source.shape
        target, spoken, size = batch.labels.size(1), batch.num_target_tokens, self.readout.in_features
        encoder, decoder, real = self.encoder, self.decoder, padding_mask(batch.source).sum(1)
        read = int(real.clamp(min=1).sum())
        layers = (encoder.both_ways, *(layer.recurrent for layer in (*encoder.lower, encoder.top)))
        encoded = sum(layer.flops(read) for layer in layers) + encoder.mixture.experts.flops(int(real.sum()))
        layers = (decoder.lowest, *(layer.recurrent for layer in (*decoder.lower, decoder.top)))
        decoded = sum(layer.flops(rows * target) for layer in layers) + decoder.mixture.experts.flops(spoken)
        looked = decoder.attention.flops(rows, target, source, size)
        looked += decoder.attention.score.key_flops(rows * source)
        return encoded + decoded + looked + of_matrices(self.readout, spoken)

    def routings(self, batch: Batch) -> list[Routing]:
        """Which experts every token of `batch` uses: in the encoder, then in the decoder."""
        routings: list[Routing] = []
        self._decode(batch, None, routings)
        return routings

    def encode(self, source: Int[Tensor, "batch length"], record: AttentionRecord | None = None) -> State:
        """Read the source once."""
        return State(self._remember(source, None), self.decoder.start(len(source)))

    def step(
        self, state: State, tokens: Int[Tensor, " rows"], record: AttentionRecord | None = None
    ) -> tuple[Float[Tensor, "rows vocabulary"], State]:
        """One token a hypothesis; logits of the next."""
        output, carry = self.decoder.step(tokens, state.memory, state.carry, record)
        return self.readout(output), State(state.memory, carry)

    def _decode(self, batch: Batch, record: AttentionRecord | None, routings: list[Routing] | None) -> Tensor:
        memory = self._remember(batch.source, routings)
        mask = padding_mask(batch.labels)  # an expert is used where something is to be said
        states: Tensor = self.decoder(batch.decoder_input, memory, mask, record, routings)
        return states

    def _remember(self, source: Tensor, routings: list[Routing] | None) -> Memory:
        return self.decoder.remember(self.encoder(source, routings), padding_mask(source))


def build(config: Config, dimensions: Dimensions) -> MixtureOfExperts:
    """The model of `config` with fresh parameters from torch's global generator."""
    return MixtureOfExperts(config, dimensions)


def _score(config: Config) -> Score:
    if config.score == "additive":
        return Additive(config.size, config.size, config.size)
    return _SCORES[config.score](config.size, config.size)
