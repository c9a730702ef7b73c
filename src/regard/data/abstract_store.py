"""What batches are made from: a corpus as numbers on disk, whether its sources are texts or pictures."""

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from regard.data.flat_file import FlatFile


class LeftOut(NamedTuple):
    """Pairs of a corpus that are not used: why, how many, and where the first few stand."""

    reason: str
    num_pairs: int
    examples: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.num_pairs:,} because {self.reason} (first: {self.examples[0]})"


class Store(ABC):
    """Pairs in corpus order; row r is the r-th pair kept. Targets are `BOS` ... `EOS`.

    `left_out` tells which pairs were not kept, `notes` what reading changed.
    `source_lengths` and `target_lengths` count positions as a model sees them: `EOS` is one, `BOS` is none
    (the decoder reads and says one token fewer than the target array holds), a picture is one.
    """

    targets: FlatFile
    source_lengths: NDArray[np.int64]
    target_lengths: NDArray[np.int64]
    num_pairs_read: int
    notes: list[str]
    left_out: list[LeftOut]

    def __len__(self) -> int:
        return len(self.targets)

    @abstractmethod
    def source_batch(self, rows: NDArray[np.int64]) -> Tensor:
        """The sources of `rows` as one tensor: padded ids (batch, length), or pictures."""

    def target(self, row: int) -> NDArray[Any]:
        """The target ids of pair `row`, between `BOS` and `EOS`."""
        return self.targets[row]

    @abstractmethod
    def resample(self, seed: int, epoch: int) -> "Store":
        """The same pairs as `epoch` shall see them: a pure function of (seed, epoch, row)."""
