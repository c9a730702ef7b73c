"""A store of pictures whose regions have been read by an encoder already: those are what a batch is made of."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from regard.data.picture_store import PictureStore


class FeatureStore(PictureStore):
    """The pairs of a `PictureStore`; `regions` (pictures, regions, size) stand in the place of its pixels."""

    regions: NDArray[np.float16]

    @classmethod
    def of(cls, store: PictureStore, regions: NDArray[np.float16]) -> "FeatureStore":
        """The pairs of `store` with these regions, one entry a picture, in the order of `store.names`."""
        made = cls.__new__(cls)
        made.__dict__.update(store.__dict__)
        made.regions = regions
        return made

    def source_batch(self, rows: NDArray[np.int64]) -> Float[Tensor, "batch regions size"]:
        """The regions of the pictures of `rows`."""
        return self.pictures(self.numbers[rows].tolist())

    def pictures(self, numbers: Sequence[int]) -> Float[Tensor, "batch regions size"]:
        """The regions of these places in `names`."""
        return torch.from_numpy(self.regions[np.asarray(numbers, np.int64)].astype(np.float32))

    def resample(self, seed: int, epoch: int) -> "FeatureStore":
        """The same: what was read once does not vary."""
        return self
