"""Vectors of words from their letters: convolutions of several widths, the largest of each filter (Kim et al. 2016)."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from regard.config import base
from regard.layers.embedding import Embedding
from regard.layers.highway import Highway
from regard.layers.stack import Stack
from regard.operations import of_matrices
from regard.symbols import PAD


class Filters(base.Config):
    """So many filters over windows of `width` letters."""

    width: int = Field(ge=1)
    number: int = Field(ge=1)


class CharacterConvolution(nn.Module):
    """letters -> embedding -> max over places of each filter -> relu -> highways -> linear (Jozefowicz et al. 2016).

    A window begins at every letter of the word, its marks among them, and reads 0 behind the word's end. (The
    published ELMo reads a learnt symbol there, up to 50 letters for every word.) So a word has one vector, whatever
    stands beside it, and no work is done on what is not there.
    """

    def __init__(
        self, num_symbols: int, *, embedding_size: int, filters: Sequence[Filters], num_highways: int, size: int
    ) -> None:
        super().__init__()
        self.embedding = Embedding(num_symbols, embedding_size)
        self.convolutions = Stack(nn.Conv1d(embedding_size, each.number, each.width) for each in filters)
        num_filters = sum(each.number for each in filters)
        self.highways = Stack(Highway(num_filters) for _ in range(num_highways))
        self.project = nn.Linear(num_filters, size)

    def forward(self, letters: Int[Tensor, "*places letters"]) -> Float[Tensor, "*places size"]:
        """The vectors of words, 0 at places that hold nothing but `PAD`."""
        flat = letters.flatten(0, -2)
        real = (flat[:, 0] != PAD).nonzero().squeeze(1)
        vectors = self.project(self._features(flat.index_select(0, real)))
        placed = vectors.new_zeros(len(flat), vectors.size(1)).index_copy(0, real, vectors)
        return placed.unflatten(0, letters.shape[:-1])

    def flops(self, words: int, letters: int) -> int:
        """Operations on so many real words, in a batch whose longest has so many letters."""
        windows = sum(convolution.weight.numel() for convolution in self.convolutions)
        return 2 * words * letters * windows + of_matrices(self.highways, words) + of_matrices(self.project, words)

    def _features(self, letters: Int[Tensor, "words letters"]) -> Float[Tensor, "words filters"]:
        is_there = letters != PAD
        embedded = self.embedding(letters).masked_fill(~is_there.unsqueeze(2), 0.0).transpose(1, 2)
        found = []
        for convolution in self.convolutions:
            values = convolution(functional.pad(embedded, (0, convolution.kernel_size[0] - 1)))
            found.append(values.masked_fill(~is_there.unsqueeze(1), float("-inf")).amax(2))
        features = torch.cat(found, 1).relu()
        for highway in self.highways:
            features = highway(features)
        return features
