"""ConvS2S: convolutions read and write, every decoder layer attends (Gehring et al. 2017).

source -> embedding + position = e -> N x (convolution, gate)            -> z; keys z, values z + e
target -> embedding + position = g -> N x (convolution, gate, attention) -> readout
"""

import math
from collections.abc import Iterator
from typing import ClassVar, Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field, model_validator
from torch import Tensor, nn

from regard.attention.attention import Attention, Memory
from regard.attention.mask import padding_mask
from regard.attention.record import AttentionRecord
from regard.attention.score import DotProduct
from regard.config import base
from regard.config.presets import Presets, WithPresets
from regard.layers.dropout import Dropout
from regard.layers.embedding import Embedding
from regard.layers.gated_convolution import GatedConvolution
from regard.layers.positional_encoding import Learned
from regard.layers.scale_gradient import scale_gradient
from regard.layers.stack import Stack
from regard.layers.weight_norm import weight_norm
from regard.operations import of_matrices
from regard.protocol import Batch, Dimensions, Model, Output, State

HALF_THE_VARIANCE = math.sqrt(0.5)  # of a sum of two (Gehring et al. 2017, 3.5)


class Blocks(base.Config):
    """So many equal layers: their hidden size, and how many inputs one of them sees."""

    layers: int = Field(gt=0)
    size: int = Field(gt=0)
    width: int = Field(gt=0)


def _blocks(*groups: tuple[int, int, int]) -> list[Blocks]:
    return [Blocks(layers=layers, size=size, width=width) for layers, size, width in groups]


_SMALL = _blocks((5, 256, 3))
_EN_DE = _blocks((10, 512, 3), (3, 768, 3), (2, 2048, 1))
# The paper speaks of fifteen layers, but those that it lists are fourteen.
_EN_FR = _blocks((5, 512, 3), (4, 768, 3), (3, 1024, 3), (1, 2048, 1), (1, 4096, 1))


class Config(WithPresets):
    """A ConvS2S. `preset` gives what is not said; the WMT ones have the paper's layers and its authors' dropout."""

    presets: ClassVar[Presets] = {
        "small": {"encoder": _SMALL, "decoder": _SMALL, "dropout": 0.2, "max_length": 256, "tied": True},
        "wmt14-en-de": {"embedding_size": 512, "encoder": _EN_DE, "decoder": _EN_DE, "dropout": 0.2},
        "wmt14-en-fr": {"embedding_size": 512, "encoder": _EN_FR, "decoder": _EN_FR, "dropout": 0.1},
    }

    kind: Literal["convs2s"] = "convs2s"
    preset: Literal["small", "wmt14-en-de", "wmt14-en-fr"] = "small"
    embedding_size: int = Field(256, gt=0)  # also of keys, of values, and of what is read out
    encoder: list[Blocks] = Field(_SMALL, min_length=1)  # bottom to top
    decoder: list[Blocks] = Field(_SMALL, min_length=1)
    dropout: float = Field(0.1, ge=0, lt=1)  # of embeddings, of the convolutions' inputs, and before the readout
    max_length: int = Field(1024, gt=0)  # of the learned positions, source and target alike
    tied: bool = False  # readout = target embedding, and = source embedding where the vocabulary is shared
    # With N decoder layers, z gets N gradients: their sum goes on "whole"; times 1 / N, "per_attention" (the paper,
    # 3.5); or times 1 / (2 N), since it is key and value, "per_use" (the authors' program). e gets its own in full.
    encoder_gradient: Literal["whole", "per_attention", "per_use"] = "per_use"

    @model_validator(mode="after")
    def _windows_have_a_centre(self) -> "Config":
        for blocks in self.encoder:
            if blocks.width % 2 == 0:
                raise ValueError(
                    f"an encoder's width must be odd, so that as much is seen on either side, but one is {blocks.width}"
                )
        return self


class Carry(NamedTuple):
    """What a hypothesis remembers: how many tokens it has, and every layer's last width - 1 inputs."""

    position: Int[Tensor, " rows"]
    pasts: tuple[Float[Tensor, "rows before size"], ...]


class EncoderLayer(nn.Module):
    """h^l = sqrt(1/2) (gated convolution of h^(l-1) + h^(l-1)); the residual is projected where the sizes differ."""

    def __init__(self, input_size: int, size: int, *, width: int, dropout: float) -> None:
        super().__init__()
        self.convolution = GatedConvolution(input_size, size, width=width, after=width // 2, dropout=dropout)
        self.residual = _residual(input_size, size)

    def forward(
        self, states: Float[Tensor, "batch length input_size"], mask: Bool[Tensor, "batch length"]
    ) -> Float[Tensor, "batch length size"]:
        """Every position sees its neighbours; padding is read as 0."""
        convolved: Tensor = self.convolution(states, mask)
        return (convolved + self.residual(states)) * HALF_THE_VARIANCE

    def flops(self, positions: int) -> int:
        """Operations at so many positions."""
        return of_matrices(self, positions)


class AttentionToSource(nn.Module):
    """d_i = W h_i + b + g_i; c_i = sum_j softmax_j(d_i . z_j) (z_j + e_j)  (Gehring et al. 2017, eq. 1 and 2).

    h is what the gate lets through, before the residual. c is brought back to its size, and added to it.
    """

    def __init__(self, size: int, embedding_size: int, *, site: str) -> None:
        super().__init__()
        self.query = _linear(size, embedding_size)
        self.attention = Attention(DotProduct(embedding_size, embedding_size), site=site)
        self.output = _linear(embedding_size, size)

    def forward(
        self,
        states: Float[Tensor, "rows queries size"],
        embedded: Float[Tensor, "rows queries embedding_size"],
        memory: Memory,
        record: AttentionRecord | None,
    ) -> Float[Tensor, "rows queries size"]:
        """One head; `embedded` is g: a query knows the word before the one that is looked for."""
        query = (self.query(states) + embedded).unsqueeze(1)
        context = self.attention(query, memory, record=record).squeeze(1)
        return (self.output(context) + states) * HALF_THE_VARIANCE

    def flops(self, rows: int, queries: int, keys: int) -> int:
        """Operations of `rows` sentences."""
        looked = self.attention.flops(rows, queries, keys, self.output.in_features)
        return looked + of_matrices(self, rows * queries)


class DecoderLayer(nn.Module):
    """The same as an encoder's layer, but blind to what comes, and with an attention of its own."""

    def __init__(
        self, input_size: int, size: int, *, width: int, dropout: float, embedding_size: int, site: str
    ) -> None:
        super().__init__()
        self.convolution = GatedConvolution(input_size, size, width=width, after=0, dropout=dropout)
        self.attend = AttentionToSource(size, embedding_size, site=site)
        self.residual = _residual(input_size, size)

    def forward(
        self, states: Tensor, embedded: Tensor, memory: Memory, record: AttentionRecord | None
    ) -> Float[Tensor, "batch length size"]:
        """All target positions at once. No padding mask: padding stands at the end, in everybody's future."""
        attended: Tensor = self.attend(self.convolution(states), embedded, memory, record)
        return (attended + self.residual(states)) * HALF_THE_VARIANCE

    def flops(self, rows: int, target: int, source: int) -> int:
        """Operations of `rows` sentences."""
        here = of_matrices(self.convolution, rows * target) + of_matrices(self.residual, rows * target)
        return here + self.attend.flops(rows, target, source)

    def step(
        self, state: Tensor, embedded: Tensor, memory: Memory, past: Tensor, record: AttentionRecord | None
    ) -> tuple[Float[Tensor, "rows 1 size"], Tensor]:
        """The next target position only."""
        convolved, past = self.convolution.step(state, past)
        attended: Tensor = self.attend(convolved, embedded, memory, record)
        return (attended + self.residual(state)) * HALF_THE_VARIANCE, past


class Embedded(nn.Module):
    """A word's vector plus its position's, both from N(0, 0.1^2): e of the source, g of the target (3.1)."""

    def __init__(self, words: Embedding, max_length: int, *, dropout: float) -> None:
        super().__init__()
        self.words = words
        self.positions = Learned(words.weight.size(1), max_length)
        self.dropout = Dropout(dropout)
        for weight in (self.words.weight, self.positions.weight):
            nn.init.normal_(weight, std=0.1)

    def forward(self, tokens: Int[Tensor, "batch length"], *, start: int = 0) -> Float[Tensor, "batch length size"]:
        """The first token stands at `start`."""
        embedded: Tensor = self.dropout(self.positions(self.words(tokens), start=start))
        return embedded


class Encoder(nn.Module):
    """From words to the z that is looked for and the e that is found with it."""

    def __init__(self, words: Embedding, config: Config) -> None:
        super().__init__()
        self.embedded = Embedded(words, config.max_length, dropout=config.dropout)
        self.enter = _linear(config.embedding_size, config.encoder[0].size, dropout=config.dropout)
        self.layers = Stack(
            EncoderLayer(input_size, size, width=width, dropout=config.dropout)
            for input_size, size, width in _shapes(config.encoder)
        )
        self.leave = _linear(config.encoder[-1].size, config.embedding_size)

    def forward(
        self, source: Int[Tensor, "batch length"], mask: Bool[Tensor, "batch length"]
    ) -> tuple[Float[Tensor, "batch length size"], Float[Tensor, "batch length size"]]:
        """Z and e."""
        embedded = self.embedded(source)
        states = self.enter(embedded)
        for layer in self.layers:
            states = layer(states, mask)
        return self.leave(states), embedded


class Decoder(nn.Module):
    """From the words so far, and the memory, to what is read out."""

    def __init__(self, words: Embedding, config: Config) -> None:
        super().__init__()
        self.embedded = Embedded(words, config.max_length, dropout=config.dropout)
        self.enter = _linear(config.embedding_size, config.decoder[0].size, dropout=config.dropout)
        self.layers = Stack(
            DecoderLayer(
                input_size,
                size,
                width=width,
                dropout=config.dropout,
                embedding_size=config.embedding_size,
                site=f"decoder.{number}.cross",
            )
            for number, (input_size, size, width) in enumerate(_shapes(config.decoder))
        )
        self.leave = _linear(config.decoder[-1].size, config.embedding_size)
        self.dropout = Dropout(config.dropout)

    def forward(
        self, tokens: Int[Tensor, "batch length"], memory: Memory, record: AttentionRecord | None
    ) -> Float[Tensor, "batch length size"]:
        """Teacher forcing: all positions at once."""
        embedded = self.embedded(tokens)
        states = self.enter(embedded)
        for layer in self.layers:
            states = layer(states, embedded, memory, record)
        hidden: Tensor = self.dropout(self.leave(states))
        return hidden

    def start(self, rows: int, like: Tensor) -> Carry:
        """Before the first token."""
        pasts = tuple(layer.convolution.start(rows, like) for layer in self.layers)
        return Carry(torch.zeros(rows, dtype=torch.long, device=like.device), pasts)

    def step(
        self, tokens: Int[Tensor, " rows"], memory: Memory, carry: Carry, record: AttentionRecord | None
    ) -> tuple[Float[Tensor, "rows size"], Carry]:
        """One more token a row; all rows are equally long."""
        embedded = self.embedded(tokens.unsqueeze(1), start=int(carry.position[0]))
        state = self.enter(embedded)
        pasts = []
        for layer, past in zip(self.layers, carry.pasts, strict=True):
            state, past = layer.step(state, embedded, memory, past, record)
            pasts.append(past)
        return self.dropout(self.leave(state[:, 0])), Carry(carry.position + 1, tuple(pasts))


class ConvS2S(Model):
    """Encoder, decoder, readout."""

    def __init__(self, encoder: Encoder, decoder: Decoder, readout: nn.Linear, *, encoder_gradient: float) -> None:
        """`encoder_gradient` times its gradient is what z passes down."""
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.readout = readout
        self.encoder_gradient = encoder_gradient
        self.longest_output = len(decoder.embedded.positions.weight) - 1  # `BOS` has a position too

    def forward(self, batch: Batch, record: AttentionRecord | None = None) -> Output:
        """Teacher forcing."""
        return Output(self.decoder(batch.decoder_input, self._remember(batch.source), record), self.readout)

    def flops(self, batch: Batch) -> int:
        """Operations of `forward`; padding is computed with the rest, but not read out."""
        rows, source = batch.source.shape
        target, encoder, decoder = batch.labels.size(1), self.encoder, self.decoder
        encoded = sum(layer.flops(rows * source) for layer in encoder.layers)
        decoded = sum(layer.flops(rows, target, source) for layer in decoder.layers)
        ends = of_matrices(encoder.enter, rows * source) + of_matrices(encoder.leave, rows * source)
        ends += of_matrices(decoder.enter, rows * target) + of_matrices(decoder.leave, rows * target)
        return encoded + decoded + ends + of_matrices(self.readout, batch.num_target_tokens)

    def encode(self, source: Int[Tensor, "batch length"], record: AttentionRecord | None = None) -> State:
        """Read the source once."""
        memory = self._remember(source)
        return State(memory, self.decoder.start(len(source), memory.keys))

    def step(
        self, state: State, tokens: Int[Tensor, " rows"], record: AttentionRecord | None = None
    ) -> tuple[Float[Tensor, "rows vocabulary"], State]:
        """One token a hypothesis; logits of the next. The cost does not depend on how many came before."""
        hidden, carry = self.decoder.step(tokens, state.memory, state.carry, record)
        return self.readout(hidden), State(state.memory, carry)

    def _remember(self, source: Tensor) -> Memory:
        """Keys z and values sqrt(m) (z + e) of a source of m words, for all layers: a dot product projects no keys.

        A mean of m vectors has 1 / m of their variance if they are unlike; the paper's factor m sqrt(1 / m) for the
        context undoes that (3.5). Here it is in the values, so that a step need not know m.
        """
        mask = padding_mask(source)
        z, embedded = self.encoder(source, mask)
        z = scale_gradient(z, self.encoder_gradient)
        num_words = mask.sum(1, dtype=embedded.dtype)[:, None, None]
        values = (z + embedded) * num_words.sqrt()
        return self.decoder.layers[0].attend.attention.remember(z.unsqueeze(1), values.unsqueeze(1), mask)


def build(config: Config, dimensions: Dimensions) -> ConvS2S:
    """The model of `config` with fresh parameters from torch's global generator."""
    target = Embedding(dimensions.target, config.embedding_size)
    one_matrix = dimensions.shared and config.tied
    source = target if one_matrix else Embedding(dimensions.source, config.embedding_size)
    encoder, decoder = Encoder(source, config), Decoder(target, config)
    if config.tied:  # a lookup table is not normalised
        readout = nn.Linear(config.embedding_size, dimensions.target)
        readout.weight = target.weight
        nn.init.zeros_(readout.bias)
    else:
        readout = _linear(config.embedding_size, dimensions.target, dropout=config.dropout)
    num_attentions = len(decoder.layers)
    share = {"whole": 1.0, "per_attention": 1 / num_attentions, "per_use": 1 / (2 * num_attentions)}
    return ConvS2S(encoder, decoder, readout, encoder_gradient=share[config.encoder_gradient])


def _shapes(groups: list[Blocks]) -> Iterator[tuple[int, int, int]]:
    """Input size, size and width of every layer, bottom to top."""
    input_size = groups[0].size
    for blocks in groups:
        for _ in range(blocks.layers):
            yield input_size, blocks.size, blocks.width
            input_size = blocks.size


def _linear(input_size: int, size: int, *, dropout: float = 0.0) -> nn.Linear:
    """Weight-normalised; starts from N(0, p/n) with n inputs of which the share p survives dropout, and biases 0 (3.5).

    `dropout` is what has fallen on its inputs.
    """
    linear = nn.Linear(input_size, size)
    nn.init.normal_(linear.weight, std=math.sqrt((1 - dropout) / input_size))
    nn.init.zeros_(linear.bias)
    return weight_norm(linear)


def _residual(input_size: int, size: int) -> nn.Module:
    return nn.Identity() if input_size == size else _linear(input_size, size)
