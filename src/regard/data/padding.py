"""Sequences of different lengths as one tensor."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Int
from numpy.typing import NDArray
from torch import Tensor

from regard.data.flat_file import FlatFile
from regard.symbols import PAD


def pad_rows(sequences: FlatFile, rows: NDArray[np.int64]) -> Int[Tensor, "batch length"]:
    """The sequences `rows`, padded with `PAD` to the longest."""
    starts, lengths = sequences.offsets[rows], sequences.lengths[rows]
    columns = np.arange(lengths.max(initial=0))
    inside = columns < lengths[:, None]  # (batch, length)
    padded = np.full(inside.shape, PAD, np.int64)
    padded[inside] = sequences.values[(starts[:, None] + columns)[inside]]
    return torch.from_numpy(padded)


def pad(sequences: Sequence[Sequence[int]]) -> Int[Tensor, "batch length"]:
    """Lists of ids as one tensor, padded with `PAD` to the longest."""
    padded = np.full((len(sequences), max(map(len, sequences), default=0)), PAD, np.int64)
    for row, sequence in enumerate(sequences):
        padded[row, : len(sequence)] = sequence
    return torch.from_numpy(padded)
