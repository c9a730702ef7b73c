"""ELMo's body: words from their letters, and two stacks of LSTMs that read the sentence in opposite directions."""

from collections.abc import Iterator
from typing import ClassVar, Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn

from regard.config.presets import Presets, WithPresets
from regard.layers.character_convolution import CharacterConvolution, Filters
from regard.layers.dropout import Dropout
from regard.layers.projected_lstm import ProjectedLSTM
from regard.layers.recurrent import reverse_within
from regard.layers.spelling import NUM_SYMBOLS, spell
from regard.layers.stack import Stack
from regard.operations import of_matrices


def _filters(*numbers: int) -> list[dict[str, int]]:
    return [{"width": width, "number": number} for width, number in enumerate(numbers, start=1)]


class BidirectionalConfig(WithPresets):
    """`size` is that of a word's vector and of one direction's state; `preset` gives what is not said."""

    presets: ClassVar[Presets] = {
        # 1.9 M parameters: learns something in half an hour on one core.
        "small": {"filters": _filters(16, 32, 64, 64, 64), "highways": 1, "size": 128, "cell_size": 512},
        # The published model of Peters et al. 2018: 93.6 M parameters.
        "original": {
            "filters": _filters(32, 32, 64, 128, 256, 512, 1024),
            "highways": 2,
            "size": 512,
            "cell_size": 4096,
        },
    }

    preset: Literal["small", "original"] = "small"
    embedding_size: int = Field(16, ge=1)  # of letters
    filters: list[Filters] = Field(min_length=1)
    highways: int = Field(1, ge=0)
    size: int = Field(128, ge=1)
    cell_size: int = Field(512, ge=1)
    num_layers: int = Field(2, ge=1)
    cell_clip: float | None = Field(3.0, gt=0)
    projection_clip: float | None = Field(3.0, gt=0)
    max_letters: int = Field(50, ge=3)  # of a word, its two marks among them; what is longer is cut
    dropout: float = Field(0.1, ge=0, lt=1)  # of what every layer reads


class Read(NamedTuple):
    """What was read: place 0 is the begin of the sentence, places 1 to n are its words, place n + 1 is its end."""

    words: Float[Tensor, "batch places size"]  # x, from letters alone
    forward: list[Float[Tensor, "batch places size"]]  # a layer each: what stands before a place, and the place itself
    backward: list[Float[Tensor, "batch places size"]]  # what stands behind it, and the place itself
    num_words: Int[Tensor, " batch"]

    @property
    def layers(self) -> Iterator[Float[Tensor, "batch places both"]]:
        """[x; x], then [forward; backward] of every layer (Peters et al. 2018, section 3.2)."""
        yield torch.cat([self.words, self.words], -1)
        for there, back in zip(self.forward, self.backward, strict=True):
            yield torch.cat([there, back], -1)


class Direction(nn.Module):
    """A stack of LSTMs with projections, first to last; every layer but the lowest adds to what it reads."""

    def __init__(self, config: BidirectionalConfig) -> None:
        super().__init__()
        self.layers = Stack(
            ProjectedLSTM(
                config.size,
                size=config.size,
                cell_size=config.cell_size,
                cell_clip=config.cell_clip,
                projection_clip=config.projection_clip,
            )
            for _ in range(config.num_layers)
        )
        self.dropout = Dropout(config.dropout)

    def forward(self, states: Float[Tensor, "batch places size"]) -> list[Float[Tensor, "batch places size"]]:
        """The states of every layer, the lowest first."""
        found: list[Tensor] = []
        for layer in self.layers:
            output = layer(self.dropout(states))
            states = states + output if found else output
            found.append(states)
        return found


class BidirectionalReader(nn.Module):
    """Reads sentences (bytes) both ways; neither direction knows the other, so each can predict its next word."""

    def __init__(self, config: BidirectionalConfig) -> None:
        super().__init__()
        self.words = CharacterConvolution(
            NUM_SYMBOLS,
            embedding_size=config.embedding_size,
            filters=config.filters,
            num_highways=config.highways,
            size=config.size,
        )
        self.there = Direction(config)
        self.back = Direction(config)
        self.max_letters = config.max_letters

    def forward(self, source: Int[Tensor, "batch length"]) -> Read:
        """The layers at all places; 0 behind a sentence's end."""
        letters, num_words = spell(source, longest=self.max_letters)
        words = self.words(letters)
        lengths = num_words + 2
        is_there = torch.arange(words.size(1), device=source.device) < lengths.unsqueeze(1)
        order = reverse_within(lengths, words.size(1)).unsqueeze(-1).expand_as(words)
        # Padding stands behind both directions, so that it changes nothing before it.
        back = [states.gather(1, order) for states in self.back(words.gather(1, order))]
        hide = (~is_there).unsqueeze(-1)
        return Read(
            words,
            [states.masked_fill(hide, 0.0) for states in self.there(words)],
            [states.masked_fill(hide, 0.0) for states in back],
            num_words,
        )

    def flops(self, source: Int[Tensor, "batch length"]) -> int:
        """Operations of `forward`: the words that are there, and both directions over the padding, too."""
        letters, num_words = spell(source, longest=self.max_letters)
        batch, places, longest = letters.shape
        lstms = of_matrices(self.there, batch * places) + of_matrices(self.back, batch * places)
        return self.words.flops(int((num_words + 2).sum()), longest) + lstms
