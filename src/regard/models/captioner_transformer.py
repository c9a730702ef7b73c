"""A captioner whose decoder is a Transformer: every layer asks the regions of the picture (Vaswani et al. 2017).

picture -> encoder -> regions + position -> memory; target -> embedding + position -> N x (self-attention,
cross-attention, fully connected) -> readout. With the encoders of `captioner`, to be compared with it.
"""

import math
from typing import Literal

import torch
from jaxtyping import Float, Int
from pydantic import Field, model_validator
from torch import Tensor, nn

from regard.attention.attention import Memory
from regard.attention.multi_head import MultiHeadAttention, Past, SelfAttention
from regard.attention.record import AttentionRecord
from regard.config import base
from regard.layers.add_and_norm import PreNorm
from regard.layers.dropout import Dropout
from regard.layers.embedding import Embedding
from regard.layers.fully_connected import FullyConnected
from regard.layers.picture_encoder import PictureEncoder, PictureEncoderConfig, WithPictureEncoder
from regard.layers.residual_network import ResidualNetworkConfig
from regard.operations import of_matrices
from regard.protocol import Batch, Dimensions, Model, Output, State

READS_PICTURES = True


class Config(base.Config):
    """Normalisation comes before each sub-layer; embedding and readout are one matrix."""

    kind: Literal["captioner_transformer"] = "captioner_transformer"
    encoder: PictureEncoderConfig = ResidualNetworkConfig.model_validate({})
    size: int = Field(256, ge=1)
    num_layers: int = Field(3, ge=1)
    num_heads: int = Field(4, ge=1)
    feed_forward_size: int = Field(1024, ge=1)
    max_length: int = Field(256, ge=1)  # positions of a caption that are told apart
    dropout: float = Field(0.1, ge=0, lt=1)  # of sub-layers' outputs, and of embedding + position

    @model_validator(mode="after")
    def _heads_divide_the_size(self) -> "Config":
        if self.size % self.num_heads:
            raise ValueError(f"num_heads ({self.num_heads}) must divide size ({self.size}) evenly")
        return self


class DecoderLayer(nn.Module):
    """Self-attention to the past, cross-attention to the regions, then a fully connected network."""

    def __init__(self, config: Config, number: int) -> None:
        super().__init__()
        site = f"decoder.{number}"
        self.self_attention = SelfAttention(config.size, config.num_heads, site=f"{site}.self")
        self.cross_attention = MultiHeadAttention(config.size, config.num_heads, site=f"{site}.cross")
        self.feed_forward = FullyConnected(config.size, config.feed_forward_size)
        self.self_norm, self.cross_norm, self.feed_forward_norm = (
            PreNorm(config.size, dropout=config.dropout) for _ in range(3)
        )

    def forward(self, states: Tensor, memory: Memory, record: AttentionRecord | None) -> Tensor:
        """All words at once; what is padding stands in everybody's future."""
        looked = self.self_attention(self.self_norm.enter(states), causal=True, record=record)
        return self._look_and_think(self.self_norm.leave(states, looked), memory, record)

    def step(
        self, state: Float[Tensor, "rows 1 size"], memory: Memory, past: Past, record: AttentionRecord | None
    ) -> tuple[Float[Tensor, "rows 1 size"], Past]:
        """The next word only."""
        looked, past = self.self_attention.step(self.self_norm.enter(state), past, record=record)
        return self._look_and_think(self.self_norm.leave(state, looked), memory, record), past

    def _look_and_think(self, states: Tensor, memory: Memory, record: AttentionRecord | None) -> Tensor:
        looked = self.cross_attention(self.cross_norm.enter(states), memory, record=record)
        states = self.cross_norm.leave(states, looked)
        return self.feed_forward_norm.leave(states, self.feed_forward(self.feed_forward_norm.enter(states)))

    def flops(self, rows: int, words: int, regions: int, size: int) -> int:
        """Operations on so many captions, and of projecting the regions of so many pictures."""
        every_word = (self.self_attention, self.cross_attention.query, self.cross_attention.output, self.feed_forward)
        pairs = 2 * 2 * rows * words * (words + regions) * size  # scores and weighted sums
        projected = of_matrices(self.cross_attention.key_value, rows * regions)
        return sum(of_matrices(part, rows * words) for part in every_word) + pairs + projected


class TransformerCaptioner(WithPictureEncoder, Model):
    """Encoder, a vector for each region's place, decoder layers, and one matrix for embedding and readout."""

    def __init__(self, encoder: PictureEncoder, config: Config, dimensions: Dimensions) -> None:
        super().__init__()
        self.encoder = encoder
        self.into = nn.Linear(encoder.size, config.size)
        num_regions = math.prod(encoder.grid(dimensions.height, dimensions.width))
        self.region_positions = _positions(num_regions, config.size)
        self.word_positions = _positions(config.max_length, config.size)
        self.embedding = Embedding(dimensions.target, config.size, scale=math.sqrt(config.size))
        self.decoder = nn.ModuleList(DecoderLayer(config, number) for number in range(config.num_layers))
        self.norm = nn.LayerNorm(config.size)
        self.readout = nn.Linear(config.size, dimensions.target, bias=False)
        self.readout.weight = self.embedding.weight
        self.dropout = Dropout(config.dropout)

    def forward(self, batch: Batch, record: AttentionRecord | None = None) -> Output:
        """Teacher forcing."""
        memories, _ = self.encode(batch.source)
        states = self.dropout(self._embed(batch.decoder_input, 0))
        for layer, memory in zip(self._layers, memories, strict=True):
            states = layer(states, memory, record)
        return Output(self.norm(states), self.readout)

    def encode(self, source: Tensor, record: AttentionRecord | None = None) -> State:
        """Read pictures, or regions that were read before; project them to every layer's keys and values."""
        regions: Tensor = self.encoder(source) if source.ndim == 4 else source
        regions = self.dropout(self.into(regions) + self.region_positions)
        memories = tuple(layer.cross_attention.remember(regions) for layer in self._layers)
        return State(memories, tuple(Past(memory.keys[:, :, :0], memory.values[:, :, :0]) for memory in memories))

    def step(
        self, state: State, tokens: Int[Tensor, " rows"], record: AttentionRecord | None = None
    ) -> tuple[Float[Tensor, "rows vocabulary"], State]:
        """One more word a row, looking at the cached past."""
        states, carry = self._embed(tokens[:, None], state.carry[0].keys.size(2)), []
        for layer, memory, past in zip(self._layers, state.memory, state.carry, strict=True):
            states, past = layer.step(states, memory, past, record)
            carry.append(past)
        return self.readout(self.norm(states[:, 0])), State(state.memory, tuple(carry))

    @property
    def _layers(self) -> list[DecoderLayer]:
        return [layer for layer in self.decoder if isinstance(layer, DecoderLayer)]

    def flops(self, batch: Batch) -> int:
        """Operations of `forward`; every caption is as long as the longest. Read before, regions cost nothing."""
        (rows, words), source = batch.labels.shape, batch.source
        seen, regions = 0, len(self.region_positions)
        if source.ndim == 4:
            seen = self.encoder.flops(rows, source.size(2), source.size(3))
        layers = sum(layer.flops(rows, words, regions, self.into.out_features) for layer in self._layers)
        return (
            seen + of_matrices(self.into, rows * regions) + layers + of_matrices(self.readout, batch.num_target_tokens)
        )

    def _embed(self, tokens: Int[Tensor, "batch length"], start: int) -> Tensor:
        """Embedding and position; all places beyond the last are the last."""
        places = torch.arange(start, start + tokens.size(1), device=tokens.device)
        embedded: Tensor = self.embedding(tokens)
        return embedded + self.word_positions[places.clamp(max=len(self.word_positions) - 1)]


def _positions(number: int, size: int) -> nn.Parameter:
    """A learned vector a place, N(0, 1/size) at first."""
    return nn.Parameter(torch.empty(number, size).normal_(std=1 / math.sqrt(size)))


def build(config: Config, dimensions: Dimensions) -> TransformerCaptioner:
    """The model of `config` with fresh parameters from torch's global generator."""
    model = TransformerCaptioner(PictureEncoder(config.encoder, dimensions.source), config, dimensions)
    for part in (model.into, model.decoder):
        part.apply(_initialise)
    return model


def _initialise(module: nn.Module) -> None:
    """Xavier for matrices, 0 for biases."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
