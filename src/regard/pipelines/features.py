"""What a frozen encoder sees in the pictures of a corpus, read once and kept: training begins at the regions.

The cache knows a set by the content of its pictures and the weights of the encoder, so that neither can be stale.
"""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from regard.data.cache import open_cached
from regard.data.dataset import Dataset, cache_folder
from regard.data.feature_store import FeatureStore
from regard.data.flat_file import FlatWriter, map_flat
from regard.data.picture_store import PictureStore
from regard.errors import DataError, UsageError
from regard.pipelines.events import Preparing
from regard.protocol import Seeing

FORMAT = 1
BATCH = 32
_NAME = "regions"


def with_features(
    dataset: Dataset, model: nn.Module, *, tell: Callable[[Preparing], None] = lambda event: None
) -> Dataset:
    """The data with regions in the pictures' place, where the encoder of `model` is frozen; else the data as they are.

    `tell` hears how far reading them has come.

    Raises:
        UsageError: the pictures shall vary, which a frozen encoder would not see; or the cache cannot be written.
    """
    encoder = model.frozen_encoder if isinstance(model, Seeing) else None
    if encoder is None:
        return dataset
    picture = dataset.config.picture
    if picture is not None and picture.is_varied:
        raise UsageError(
            "data.picture.shift and data.picture.flip have no effect with a frozen encoder, which reads every picture "
            "once; leave them out, or set model.encoder.frozen=false"
        )
    cache = cache_folder(dataset.config, dataset.base)
    stores = [_read(store, encoder, cache, tell) for store in (dataset.train, dataset.validation) if store is not None]
    return dataset._replace(train=stores[0], validation=stores[1] if len(stores) > 1 else None)


def _read(store: object, encoder: nn.Module, cache: Path, tell: Callable[[Preparing], None]) -> FeatureStore:
    assert isinstance(store, PictureStore), "a model that sees is given pictures"
    key = hashlib.sha256(f"{FORMAT} {fingerprint(encoder)} ".encode())
    key.update(store.encoding.reader.fingerprint.encode())
    key.update(np.ascontiguousarray(store.pixels).data)
    shape = _shape(store, encoder)

    def open_folder(folder: Path) -> FeatureStore:
        values = map_flat(folder, _NAME).values
        if len(values) != int(np.prod(shape)):
            raise DataError(f"{folder} is damaged: {len(values)} numbers instead of {shape}")
        return FeatureStore.of(store, values.reshape(shape))

    return open_cached(
        cache / "features" / key.hexdigest()[:32],
        open_folder=open_folder,
        build=lambda folder: _build(store, encoder, folder, tell),
    )


def fingerprint(encoder: nn.Module) -> str:
    """SHA-256 over the names and the bytes of all weights and statistics."""
    total = hashlib.sha256()
    for name, tensor in encoder.state_dict().items():
        total.update(name.encode())
        total.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return total.hexdigest()


@torch.inference_mode()
def _build(store: PictureStore, encoder: nn.Module, folder: Path, tell: Callable[[Preparing], None]) -> None:
    with FlatWriter(folder, _NAME, "<f2") as writer:
        for start in range(0, len(store.names), BATCH):
            tell(Preparing("pictures seen by the encoder", start, len(store.names)))
            numbers = range(start, min(start + BATCH, len(store.names)))
            writer.append(_regions(store, encoder, numbers).astype(np.float16).ravel())
        writer.finish()


@torch.inference_mode()
def _shape(store: PictureStore, encoder: nn.Module) -> tuple[int, int, int]:
    _, regions, size = _regions(store, encoder, [0]).shape
    return len(store.names), regions, size


def _regions(store: PictureStore, encoder: nn.Module, numbers: Sequence[int]) -> np.ndarray:
    device = next(encoder.parameters()).device
    regions: np.ndarray = encoder(store.pictures(numbers).to(device)).float().cpu().numpy()
    return regions
