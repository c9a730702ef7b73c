"""ByteNet: translation in linear time, two stacks of dilated convolutions, no attention (Kalchbrenner et al. 2016).

source -> embedding, padded to |t^| = a |s| + b -> blocks that look both ways -> s_0, s_1, ...; 0 from |t^| on
target -> embedding of the token before t, joined to s_t -> blocks that look back only -> readout

The decoder stands on top of the encoder: position t of the target reads position t of the source's representation
and no other ("dynamic unfolding"). What the two share of word order, the blocks must bridge by their receptive fields.
There are no weights over the source anywhere, so a record stays empty and there is no attention to show.
"""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from regard.attention.record import AttentionRecord
from regard.config.presets import Presets, WithPresets
from regard.layers.add_and_norm import PreNorm
from regard.layers.dilated_convolution import DilatedConvolution
from regard.layers.dropout import Dropout
from regard.layers.embedding import Embedding
from regard.layers.stack import Stack
from regard.operations import of_matrices
from regard.protocol import Batch, Dimensions, Model, Output, State
from regard.symbols import PAD


class Config(WithPresets):
    """`size` is the paper's d, the inside of a block; embeddings and what runs between the blocks have 2d units."""

    presets: ClassVar[Presets] = {
        # 7.1 M parameters beside the embedding; sees 125 characters: most sentences of Multi30k from end to end.
        "small": {"size": 224, "encoder_sets": 2, "decoder_sets": 2, "unfold_ratio": 1.5, "dropout": 0.1},
        # 30 + 30 blocks, 269.4 M parameters (the paper's model for WMT'14), no dropout.
        "wmt": {"size": 800, "encoder_sets": 6, "decoder_sets": 6, "unfold_ratio": 1.2, "dropout": 0.0},
    }

    kind: Literal["bytenet"] = "bytenet"
    preset: Literal["small", "wmt"] = "small"
    size: int = Field(224, gt=0)
    block: Literal["relu", "multiplicative"] = "relu"
    kernel_size: int = Field(3, ge=3)
    max_dilation: int = Field(16, ge=1)  # a set of blocks has dilations 1, 2, 4, ... up to this
    encoder_sets: int = Field(2, ge=1)
    decoder_sets: int = Field(2, ge=1)
    unfold_ratio: float = Field(1.5, ge=1)  # a: the source is represented for so many target tokens per source token
    unfold_extra: int = Field(0, ge=0)  # b
    join: Literal["concatenate", "add"] = "concatenate"  # s_t and the token before: W [s_t; y_(t-1)] or their sum
    tied: bool = True  # readout = target embedding, and = source embedding where the vocabulary is shared
    dropout: float = Field(0.1, ge=0, lt=1)  # of embeddings, and of what a block adds

    @model_validator(mode="after")
    def _can_be_built(self) -> "Config":
        if self.kernel_size % 2 == 0:
            raise ValueError(
                f"kernel_size {self.kernel_size} is even: the encoder's kernel needs a middle; make it odd"
            )
        if self.max_dilation & (self.max_dilation - 1):
            raise ValueError(f"max_dilation {self.max_dilation} is not reached by doubling 1; take a power of two")
        if round(self.unfold_ratio, 3) != self.unfold_ratio:
            raise ValueError(f"unfold_ratio {self.unfold_ratio} is finer than a thousandth, which has no effect")
        return self

    def dilations(self, sets: int) -> list[int]:
        """Of all blocks, the lowest first."""
        return [1 << power for power in range(self.max_dilation.bit_length())] * sets


class Block(nn.Module, ABC):
    """x + W_2 f(conv(relu(norm(W_1 relu(norm(x)))))): from 2d units to d, look around, and back to 2d (3.6).

    Layer norms see one position of one sentence. Statistics of a batch, or of a sequence, would tell
    a masked network its own future, and a sentence something of its neighbours: the paper's sub-batch
    normalisation comes down to this.
    """

    def __init__(self, size: int, num_outputs: int, *, dropout: float, **shape: Any) -> None:
        """`shape` is the convolution's: kernel_size, dilation, causal."""
        super().__init__()
        self.around = PreNorm(2 * size, dropout=dropout)
        self.narrow = nn.Linear(2 * size, size)
        self.norm = nn.LayerNorm(size)
        self.convolution = DilatedConvolution(size, num_outputs, **shape)
        self.widen = nn.Linear(size, 2 * size)

    def forward(
        self, states: Float[Tensor, "batch length width"], mask: Bool[Tensor, "batch length"] | None = None
    ) -> Float[Tensor, "batch length width"]:
        """All positions at once; where `mask` is False there is nothing for the others to see."""
        inputs = self._enter(states)
        return self._leave(states, inputs, self.convolution(inputs, mask))

    def step(
        self, state: Float[Tensor, "rows width"], past: Float[Tensor, "rows reach size"]
    ) -> tuple[Float[Tensor, "rows width"], Float[Tensor, "rows reach size"]]:
        """The next position only."""
        inputs = self._enter(state)
        convolved, past = self.convolution.step(inputs, past)
        return self._leave(state, inputs, convolved), past

    def flops(self, positions: int) -> int:
        """Operations at so many positions."""
        return of_matrices(self, positions)

    @abstractmethod
    def activate(self, inputs: Tensor, convolved: Tensor) -> Float[Tensor, "*batch size"]:
        """f: what becomes of the convolution's outputs; `inputs` is what it read at the same positions."""

    def _enter(self, states: Tensor) -> Tensor:
        return functional.relu(self.norm(self.narrow(functional.relu(self.around.enter(states)))))

    def _leave(self, states: Tensor, inputs: Tensor, convolved: Tensor) -> Tensor:
        return self.around.leave(states, self.widen(self.activate(inputs, convolved)))


class ReluBlock(Block):
    """f = relu(norm(.)): the paper's block for translation (3.6)."""

    def __init__(self, size: int, **settings: Any) -> None:
        super().__init__(size, size, **settings)
        self.activation_norm = nn.LayerNorm(size)

    def activate(self, inputs: Tensor, convolved: Tensor) -> Tensor:
        """The positive part, normalised."""
        return functional.relu(self.activation_norm(convolved))


class MultiplicativeBlock(Block):
    """f = two multiplicative units, one fed by the convolution, one by each position: the paper's for language models.

    The second unit has a kernel of 1; the order of the parts is how public restatements read the paper's figure.
    """

    def __init__(self, size: int, **settings: Any) -> None:
        super().__init__(size, 4 * size, **settings)
        self.gates = nn.Linear(size, 4 * size)

    def activate(self, inputs: Tensor, convolved: Tensor) -> Tensor:
        """Gate what was read by what was seen around it, then by itself."""
        gated = multiplicative_unit(inputs, convolved)
        return multiplicative_unit(gated, self.gates(gated))


def multiplicative_unit(
    inputs: Float[Tensor, "*batch size"], gates: Float[Tensor, "*batch four_sizes"]
) -> Float[Tensor, "*batch size"]:
    """g1 tanh(g2 h + g3 u), with g1, g2, g3 = sigmoid and u = tanh of the quarters of `gates` (Section 3.6)."""
    g1, g2, g3, u = gates.chunk(4, -1)
    return g1.sigmoid() * torch.tanh(g2.sigmoid() * inputs + g3.sigmoid() * u.tanh())


class Encoder(nn.Module):
    """The source, each of whose positions has seen its surroundings, lengthened to where the target may end."""

    def __init__(self, embedding: Embedding, blocks: Stack[Block], config: Config) -> None:
        super().__init__()
        self.embedding = embedding
        self.dropout = Dropout(config.dropout)
        self.blocks = blocks
        self.norm = nn.LayerNorm(2 * config.size)  # the sum that ran past all blocks is as large as it grew
        # Whole thousandths: rounding must not depend on the device, nor on 1.1 being 1.100000000000000089.
        self._thousandths = round(1000 * config.unfold_ratio)
        self._extra = config.unfold_extra

    def forward(self, source: Int[Tensor, "batch length"]) -> Float[Tensor, "batch unfolded_length width"]:
        """s_0, s_1, ... of every row; zeros from its |t^| on, and the last column is zeros for all."""
        mask = self._unfold(source)
        tokens = functional.pad(source, (0, mask.size(1) - source.size(1)), value=PAD)  # or cut off, where only PAD is
        states = self.dropout(self.embedding(tokens))
        for block in self.blocks:
            states = block(states, mask)
        represented = self.norm(states).masked_fill(~mask.unsqueeze(-1), 0.0)
        return functional.pad(represented, (0, 0, 0, 1))

    def unfolded_length(self, source: Int[Tensor, "batch length"]) -> int:
        """Positions at which a padded batch is computed."""
        return self._unfold(source).size(1)

    def _unfold(self, source: Tensor) -> Bool[Tensor, "batch unfolded_length"]:
        """True at the first |t^| = ceil(a |s|) + b positions of every row. They read PAD's embedding beyond |s|."""
        bounds = ((source != PAD).sum(1) * self._thousandths + 999) // 1000 + self._extra
        return torch.arange(max(1, int(bounds.max())), device=source.device) < bounds.unsqueeze(1)


class Carry(NamedTuple):
    """What a hypothesis remembers: how many tokens it has read, and what every convolution last read."""

    position: Int[Tensor, " rows"]
    pasts: tuple[Float[Tensor, "rows reach size"], ...]


class Decoder(nn.Module):
    """Masked blocks over the target's past and the source's representation, position by position."""

    def __init__(self, embedding: Embedding, blocks: Stack[Block], config: Config) -> None:
        super().__init__()
        self.embedding = embedding
        self.dropout = Dropout(config.dropout)
        self.join = nn.Linear(4 * config.size, 2 * config.size) if config.join == "concatenate" else None
        self.blocks = blocks
        self.norm = nn.LayerNorm(2 * config.size)

    def forward(
        self, tokens: Int[Tensor, "batch length"], memory: Float[Tensor, "batch unfolded_length width"]
    ) -> Float[Tensor, "batch length width"]:
        """What is read out at every position. No mask: padding stands at the end, in everybody's future."""
        beside = functional.pad(memory, (0, 0, 0, tokens.size(1) - memory.size(1)))  # or cut off what is not reached
        states = self._read(tokens, beside)
        for block in self.blocks:
            states = block(states)
        read: Tensor = self.norm(states)
        return read

    def start(self, memory: Float[Tensor, "batch unfolded_length width"]) -> Carry:
        """Before the first token."""
        position = torch.zeros(memory.size(0), dtype=torch.long, device=memory.device)
        return Carry(position, tuple(block.convolution.start(memory) for block in self.blocks))

    def step(
        self, tokens: Int[Tensor, " rows"], memory: Float[Tensor, "batch unfolded_length width"], carry: Carry
    ) -> tuple[Float[Tensor, "rows width"], Carry]:
        """The same for one token a row."""
        state, pasts = self._read(tokens, source_beside(memory, carry.position)), []
        for block, past in zip(self.blocks, carry.pasts, strict=True):
            state, past = block.step(state, past)
            pasts.append(past)
        return self.norm(state), Carry(carry.position + 1, tuple(pasts))

    def _read(self, tokens: Tensor, beside: Tensor) -> Tensor:
        """The paper stacks the decoder on the encoder, but does not say how the two are joined: both ways are here."""
        embedded = self.dropout(self.embedding(tokens))
        if self.join is None:
            return beside + embedded
        joined: Tensor = self.join(torch.cat([beside, embedded], -1))
        return joined


def source_beside(
    memory: Float[Tensor, "batch unfolded_length width"], position: Int[Tensor, " rows"]
) -> Float[Tensor, "rows width"]:
    """s_t for every hypothesis, those of a sentence side by side; beyond the last column it is that column: zeros."""
    sentence = torch.arange(position.size(0), device=position.device) // (position.size(0) // memory.size(0))
    return memory[sentence, position.clamp(max=memory.size(1) - 1)]


class ByteNet(Model):
    """Encoder, decoder on top of it, readout."""

    def __init__(self, encoder: Encoder, decoder: Decoder, readout: nn.Linear) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.readout = readout

    def forward(self, batch: Batch, record: AttentionRecord | None = None) -> Output:
        """Teacher forcing: all target positions at once. Nothing goes to `record`: there is no attention."""
        return Output(self.decoder(batch.decoder_input, self.encoder(batch.source)), self.readout)

    def flops(self, batch: Batch) -> int:
        """Operations of `forward`; padding is computed with the rest, but not read out."""
        rows, target = batch.labels.shape
        unfolded = rows * self.encoder.unfolded_length(batch.source)
        encoded = sum(block.flops(unfolded) for block in self.encoder.blocks)
        decoded = sum(block.flops(rows * target) for block in self.decoder.blocks)
        joined = 0 if self.decoder.join is None else of_matrices(self.decoder.join, rows * target)
        return encoded + decoded + joined + of_matrices(self.readout, batch.num_target_tokens)

    def encode(self, source: Int[Tensor, "batch length"], record: AttentionRecord | None = None) -> State:
        """Read the source once."""
        memory = self.encoder(source)
        return State(memory, self.decoder.start(memory))

    def step(
        self, state: State, tokens: Int[Tensor, " rows"], record: AttentionRecord | None = None
    ) -> tuple[Float[Tensor, "rows vocabulary"], State]:
        """One token a hypothesis; logits of the next. The cost does not grow with what has been said."""
        read, carry = self.decoder.step(tokens, state.memory, state.carry)
        return self.readout(read), State(state.memory, carry)


def build(config: Config, dimensions: Dimensions) -> ByteNet:
    """A ByteNet with fresh parameters from torch's global generator."""
    width = 2 * config.size
    scale = width**0.5  # components of unit variance, like what the blocks add
    target = Embedding(dimensions.target, width, scale=scale)
    share = config.tied and dimensions.shared
    source = target if share else Embedding(dimensions.source, width, scale=scale)
    model = ByteNet(
        Encoder(source, _blocks(config, config.encoder_sets, causal=False), config),
        Decoder(target, _blocks(config, config.decoder_sets, causal=True), config),
        nn.Linear(width, dimensions.target),
    )
    model.apply(_initialise)
    if config.tied:
        model.readout.weight = target.weight
    return model


def _blocks(config: Config, sets: int, *, causal: bool) -> Stack[Block]:
    chosen = {"relu": ReluBlock, "multiplicative": MultiplicativeBlock}[config.block]
    return Stack(
        chosen(config.size, dropout=config.dropout, kernel_size=config.kernel_size, dilation=dilation, causal=causal)
        for dilation in config.dilations(sets)
    )


def _initialise(module: nn.Module) -> None:
    """Xavier for matrices, 0 for biases; embeddings and norms start as they say themselves."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)
