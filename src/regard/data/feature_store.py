"""A store of pictures whose regions have been read by an encoder already: those are what a batch is made of."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from regard.data.picture_store import PictureStore

Regions = NDArray[np.float16]  # of one picture, (regions, size)


class FeatureStore(PictureStore):
    """The pairs of a `PictureStore`; `regions`, those of each picture, stand in the place of its pixels."""

    regions: Sequence[Regions]

    @classmethod
    def of(cls, store: PictureStore, regions: Sequence[Regions]) -> "FeatureStore":
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
        return torch.from_numpy(np.stack([self.regions[number] for number in numbers]).astype(np.float32))

    def resample(self, seed: int, epoch: int) -> "FeatureStore":
        """The same: what was read once does not vary."""
        return self
