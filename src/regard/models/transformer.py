"""The Transformer: attention is all you need (Vaswani et al. 2017).

source -> embedding + position -> N x (self-attention, fully connected)                   -> memory
target -> embedding + position -> N x (self-attention, cross-attention, fully connected)  -> readout
"""

import math
from typing import Any, Literal

from jaxtyping import Bool, Float, Int
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

import regard.config.base
from regard.attention.attention import Memory
from regard.attention.mask import padding_mask
from regard.attention.multi_head import MultiHeadAttention, Past, SelfAttention
from regard.attention.record import AttentionRecord
from regard.layers.add_and_norm import AddAndNorm, PostNorm, PreNorm
from regard.layers.dropout import Dropout
from regard.layers.embedding import Embedding
from regard.layers.experts import Experts, ExpertsConfig, Routing, total_penalty
from regard.layers.fully_connected import Activation, FullyConnected
from regard.layers.positional_encoding import Learned, Positions, Rotary, Sinusoidal
from regard.layers.stack import Stack
from regard.operations import of_matrices
from regard.protocol import Batch, Dimensions, Model, Output, State

_PRESETS: dict[str, dict[str, Any]] = {
    "tiny": {"size": 128, "num_layers": 4, "num_heads": 4, "feed_forward_size": 256, "dropout": 0.3},
    "small": {"size": 256, "num_layers": 3, "num_heads": 4, "feed_forward_size": 1024, "dropout": 0.2, "norm": "pre"},
    "base": {"size": 512, "num_layers": 6, "num_heads": 8, "feed_forward_size": 2048, "dropout": 0.1},
    "big": {"size": 1024, "num_layers": 6, "num_heads": 16, "feed_forward_size": 4096, "dropout": 0.3},
}

_ACTIVATIONS: dict[str, Activation] = {"relu": functional.relu, "gelu": functional.gelu}


class Config(regard.config.base.Config):
    """A Transformer. `preset` gives what is not said; base and big are the paper's (its Table 3), small is ours."""

    kind: Literal["transformer"] = "transformer"
    preset: Literal["tiny", "small", "base", "big"] = "small"
    size: int = Field(256, gt=0)
    num_layers: int | None = Field(3, gt=0)  # of encoder and decoder each; None where both have their own
    encoder_layers: int | None = Field(None, gt=0)  # num_layers where not given
    decoder_layers: int | None = Field(None, gt=0)
    num_heads: int = Field(4, gt=0)
    feed_forward_size: int = Field(1024, gt=0)  # of each expert, where there are experts
    experts: ExpertsConfig | None = None  # in place of every feed-forward network (Shazeer et al. 2017)
    dropout: float = Field(0.1, ge=0, lt=1)  # of sub-layer outputs and of embedding + position
    attention_dropout: float = Field(0.0, ge=0, lt=1)  # of attention weights
    activation_dropout: float = Field(0.0, ge=0, lt=1)  # of the feed-forward network's hidden units
    activation: Literal["relu", "gelu"] = "relu"
    norm: Literal["post", "pre"] = "post"
    # Added to what is embedded, or, rotary, told to self-attention by turning its queries and keys (Su et al. 2021):
    # better for sentences, worse where symbols are copied one by one (docs/log.md).
    positions: Literal["sinusoidal", "learned", "rotary"] = "sinusoidal"
    max_length: int | None = Field(None, gt=0)  # of learned positions
    tied: bool = True  # readout = target embedding, and = source embedding where the vocabulary is shared
    bias: bool = True

    @model_validator(mode="before")
    @classmethod
    def _fill_from_preset(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        filled = _PRESETS.get(str(given.get("preset", "small")), {}) | given
        if given.get("encoder_layers") is not None and given.get("decoder_layers") is not None:
            if given.get("num_layers") is not None:
                raise ValueError("num_layers has no effect beside encoder_layers and decoder_layers; leave one out")
            filled["num_layers"] = None
        return filled

    @model_validator(mode="after")
    def _settings_go_together(self) -> "Config":
        if self.size % self.num_heads:
            raise ValueError(f"num_heads ({self.num_heads}) must divide size ({self.size}) evenly")
        if self.num_layers is None and None in (self.encoder_layers, self.decoder_layers):
            raise ValueError("num_layers is null; give it, or both encoder_layers and decoder_layers")
        if self.positions == "learned" and self.max_length is None:
            raise ValueError("learned positions need a max_length")
        if self.positions != "learned" and self.max_length is not None:
            raise ValueError(f"max_length has no effect with {self.positions} positions, which have no end")
        if self.positions == "rotary" and self.size // self.num_heads % 2:
            raise ValueError(
                f"rotary positions need heads of an even size; size / num_heads is {self.size // self.num_heads}"
            )
        return self


class EncoderLayer(nn.Module):
    """Self-attention, then a fully connected network."""

    def __init__(self, config: Config, number: int) -> None:
        super().__init__()
        self.self_attention = _self_attention(config, f"encoder.{number}.self")
        self.self_norm = _add_and_norm(config)
        self.feed_forward = _feed_forward(config, f"encoder.{number}.experts")
        self.feed_forward_norm = _add_and_norm(config)

    def forward(
        self,
        states: Tensor,
        mask: Bool[Tensor, "batch length"],
        record: AttentionRecord | None,
        routings: list[Routing] | None,
    ) -> Float[Tensor, "batch length size"]:
        """Every position looks at all real positions, then thinks for itself."""
        looked = self.self_attention(self.self_norm.enter(states), mask, record=record)
        states = self.self_norm.leave(states, looked)
        thought = _think(self.feed_forward, self.feed_forward_norm.enter(states), mask, routings)
        return self.feed_forward_norm.leave(states, thought)

    def flops(self, rows: int, length: int, tokens: int) -> int:
        """Operations on `rows` sentences with `tokens` real tokens."""
        return self.self_attention.flops(rows, length) + _thinking(self.feed_forward, rows * length, tokens)


class DecoderLayer(nn.Module):
    """Self-attention to the past, cross-attention to the source, then a fully connected network."""

    def __init__(self, config: Config, number: int) -> None:
        super().__init__()
        self.self_attention = _self_attention(config, f"decoder.{number}.self")
        self.self_norm = _add_and_norm(config)
        self.cross_attention = MultiHeadAttention(**_attention(config, f"decoder.{number}.cross"))
        self.cross_norm = _add_and_norm(config)
        self.feed_forward = _feed_forward(config, f"decoder.{number}.experts")
        self.feed_forward_norm = _add_and_norm(config)

    def forward(
        self,
        states: Tensor,
        memory: Memory,
        mask: Bool[Tensor, "batch length"],
        record: AttentionRecord | None,
        routings: list[Routing] | None,
    ) -> Float[Tensor, "batch length size"]:
        """All target positions at once. Attention needs no `mask`: padding stands at the end, in everybody's future."""
        looked = self.self_attention(self.self_norm.enter(states), causal=True, record=record)
        states = self._look_at_source(states, looked, memory, record)
        thought = _think(self.feed_forward, self.feed_forward_norm.enter(states), mask, routings)
        return self.feed_forward_norm.leave(states, thought)

    def step(
        self, state: Tensor, memory: Memory, past: Past, record: AttentionRecord | None
    ) -> tuple[Float[Tensor, "rows 1 size"], Past]:
        """The next target position only."""
        looked, past = self.self_attention.step(self.self_norm.enter(state), past, record=record)
        state = self._look_at_source(state, looked, memory, record)
        thought = self.feed_forward(self.feed_forward_norm.enter(state))
        return self.feed_forward_norm.leave(state, thought), past

    def flops(self, rows: int, source: int, target: int, tokens: int) -> int:
        """Operations on `rows` sentences with `tokens` real target tokens, the memory's among them."""
        looked = self.self_attention.flops(rows, target) + self.cross_attention.flops(rows, target, source)
        return looked + _thinking(self.feed_forward, rows * target, tokens)

    def _look_at_source(self, states: Tensor, looked: Tensor, memory: Memory, record: AttentionRecord | None) -> Tensor:
        states = self.self_norm.leave(states, looked)
        looked = self.cross_attention(self.cross_norm.enter(states), memory, record=record)
        return self.cross_norm.leave(states, looked)


class Transformer(Model):
    """Encoder, decoder, and the one matrix that embeds both and reads out."""

    def __init__(self, config: Config, dimensions: Dimensions) -> None:
        super().__init__()
        scale = math.sqrt(config.size)
        self.source_embedding = Embedding(dimensions.source, config.size, scale=scale)
        one_matrix = dimensions.shared and config.tied
        self.target_embedding = (
            self.source_embedding if one_matrix else Embedding(dimensions.target, config.size, scale=scale)
        )
        self.source_positions, self.target_positions = _positions(config), _positions(config)
        self.dropout = Dropout(config.dropout)
        self.encoder = Stack(EncoderLayer(config, n) for n in range(config.encoder_layers or config.num_layers or 0))
        self.decoder = Stack(DecoderLayer(config, n) for n in range(config.decoder_layers or config.num_layers or 0))
        self.encoder_norm, self.decoder_norm = _final_norm(config), _final_norm(config)
        self.readout = nn.Linear(config.size, dimensions.target, bias=False)
        self.apply(_initialise)
        if config.tied:
            self.readout.weight = self.target_embedding.weight
        if config.max_length is not None:
            self.longest_output = config.max_length - 1  # `BOS` has a position too

    def forward(self, batch: Batch, record: AttentionRecord | None = None) -> Output:
        """Teacher forcing: all target positions at once."""
        routings: list[Routing] = []
        states = self._decode(batch, record, routings if self.training else None)
        return Output(states, self.readout, total_penalty(routings, padding_mask(batch.labels)))

    def flops(self, batch: Batch) -> int:
        """Operations of `forward`: padding is computed with the rest, but meets no expert and is not read out."""
        rows, source = batch.source.shape
        target, spoken = batch.labels.size(1), batch.num_target_tokens
        read = int(padding_mask(batch.source).sum())
        encoder = sum(layer.flops(rows, source, read) for layer in self.encoder)
        decoder = sum(layer.flops(rows, source, target, spoken) for layer in self.decoder)
        return encoder + decoder + of_matrices(self.readout, spoken)

    def routings(self, batch: Batch) -> list[Routing]:
        """Which experts every token of `batch` uses, layer by layer; an empty list where there are no experts."""
        routings: list[Routing] = []
        self._decode(batch, None, routings)
        return routings

    def encode(self, source: Int[Tensor, "batch length"], record: AttentionRecord | None = None) -> State:
        """Read the source; project it to every decoder layer's keys and values, once a sentence."""
        memories = self._memories(source, record, None)
        return State(memories, tuple(Past(memory.keys[:, :, :0], memory.values[:, :, :0]) for memory in memories))

    def step(
        self, state: State, tokens: Int[Tensor, " rows"], record: AttentionRecord | None = None
    ) -> tuple[Float[Tensor, "rows vocabulary"], State]:
        """One more target token a row, looking at the cached past."""
        position = state.carry[0].keys.size(2)
        states = _embed(tokens[:, None], self.target_embedding, self.target_positions, start=position)
        carry = []
        for layer, memory, past in zip(self.decoder, state.memory, state.carry, strict=True):
            states, past = layer.step(states, memory, past, record)
            carry.append(past)
        return self.readout(self.decoder_norm(states[:, 0])), State(state.memory, tuple(carry))

    def _decode(self, batch: Batch, record: AttentionRecord | None, routings: list[Routing] | None) -> Tensor:
        memories = self._memories(batch.source, record, routings)
        states = self.dropout(_embed(batch.decoder_input, self.target_embedding, self.target_positions))
        mask = padding_mask(batch.labels)  # an expert is used where something is to be said
        for layer, memory in zip(self.decoder, memories, strict=True):
            states = layer(states, memory, mask, record, routings)
        normalised: Tensor = self.decoder_norm(states)
        return normalised

    def _memories(
        self, source: Tensor, record: AttentionRecord | None, routings: list[Routing] | None
    ) -> tuple[Memory, ...]:
        mask = padding_mask(source)
        states = self.dropout(_embed(source, self.source_embedding, self.source_positions))
        for layer in self.encoder:
            states = layer(states, mask, record, routings)
        states = self.encoder_norm(states)
        return tuple(layer.cross_attention.remember(states, mask) for layer in self.decoder)


def build(config: Config, dimensions: Dimensions) -> Transformer:
    """A Transformer with fresh parameters from torch's global generator."""
    return Transformer(config, dimensions)


def _embed(tokens: Tensor, embedding: Embedding, positions: Positions | None, *, start: int = 0) -> Tensor:
    embedded: Tensor = embedding(tokens)
    return embedded if positions is None else positions(embedded, start=start)


def _self_attention(config: Config, site: str) -> SelfAttention:
    rotary = Rotary(config.size // config.num_heads) if config.positions == "rotary" else None
    return SelfAttention(**_attention(config, site), rotary=rotary)


def _attention(config: Config, site: str) -> dict[str, Any]:
    return {
        "size": config.size,
        "num_heads": config.num_heads,
        "site": site,
        "dropout": config.attention_dropout,
        "bias": config.bias,
    }


def _feed_forward(config: Config, site: str) -> FullyConnected | Experts:
    if config.experts is None:
        return _fully_connected(config)
    return Experts(
        (_fully_connected(config) for _ in range(config.experts.number)),
        config.size,
        site=site,
        **config.experts.model_dump(exclude={"number"}),
    )


def _fully_connected(config: Config) -> FullyConnected:
    return FullyConnected(
        config.size,
        config.feed_forward_size,
        activation=_ACTIVATIONS[config.activation],
        dropout=config.activation_dropout,
        bias=config.bias,
    )


def _think(
    network: FullyConnected | Experts, states: Tensor, mask: Tensor, routings: list[Routing] | None
) -> Float[Tensor, "batch length size"]:
    thought: Tensor = network(states, mask, routings) if isinstance(network, Experts) else network(states)
    return thought


def _thinking(network: FullyConnected | Experts, positions: int, tokens: int) -> int:
    return network.flops(tokens if isinstance(network, Experts) else positions)


def _add_and_norm(config: Config) -> AddAndNorm:
    order = {"post": PostNorm, "pre": PreNorm}[config.norm]
    return order(config.size, dropout=config.dropout, bias=config.bias)


def _final_norm(config: Config) -> nn.Module:
    """Pre-norm leaves its residual stream as it grew, so it is normalised at the end; post-norm needs no more."""
    return nn.LayerNorm(config.size, bias=config.bias) if config.norm == "pre" else nn.Identity()


def _positions(config: Config) -> Positions | None:
    if config.positions == "learned":
        assert config.max_length is not None
        return Learned(config.size, config.max_length)
    return Sinusoidal(config.size) if config.positions == "sinusoidal" else None


def _initialise(module: nn.Module) -> None:
    """Xavier for matrices, 0 for biases; embeddings and norms start as they say themselves."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
