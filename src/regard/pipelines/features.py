"""What a frozen encoder sees in the pictures of a corpus, read once and kept: training begins at the regions.

The cache knows a picture by its content and by the weights of the encoder, so that neither can be stale, and a set that
grows, or whose captions come in another language, costs only the pictures that are new. Each is read by itself: what
is kept of it depends on no other.
"""

import functools
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from regard.data.cache import open_cached
from regard.data.dataset import Dataset, cache_folder
from regard.data.feature_store import FeatureStore, Regions
from regard.data.flat_file import FlatWriter, map_flat
from regard.data.picture_store import PictureStore
from regard.errors import DataError, UsageError
from regard.pipelines.events import Preparing
from regard.protocol import Seeing

FORMAT = 2
PART = 512  # pictures in one folder; so many are lost at most when reading is broken off
_NAME, _FILES = "regions", "files.json"
_EVERY = 32  # pictures, between two signs of life


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
    assert isinstance(dataset.train, PictureStore), "a model that sees is given pictures"
    key = hashlib.sha256(f"{FORMAT} {fingerprint(encoder)} {dataset.train.encoding.reader.fingerprint}".encode())
    folder = cache_folder(dataset.config, dataset.base) / "features" / key.hexdigest()[:32]
    known = _known(folder)
    stores = [
        _read(store, encoder, folder, known, tell) for store in (dataset.train, dataset.validation) if store is not None
    ]
    return dataset._replace(train=stores[0], validation=stores[1] if len(stores) > 1 else None)


def _read(
    store: object, encoder: nn.Module, folder: Path, known: dict[str, Regions], tell: Callable[[Preparing], None]
) -> FeatureStore:
    """The regions of all pictures of `store`; those that are not `known` are read, kept in `folder`, and known then."""
    assert isinstance(store, PictureStore), "a model that sees is given pictures"
    names = [hashlib.sha256(pixels.tobytes()).hexdigest() for pixels in store.pixels]
    first = {name: number for number, name in reversed(list(enumerate(names))) if name not in known}
    reading = _Reading(store, encoder, names, sorted(first.values()), tell)
    for start in range(0, len(first), PART):
        known.update(
            open_cached(folder / reading.key(start), open_folder=_open, build=functools.partial(reading.build, start))
        )
    return FeatureStore.of(store, [known[name] for name in names])


def _known(folder: Path) -> dict[str, Regions]:
    """The regions of every picture that lies in a whole part of `folder`."""
    known: dict[str, Regions] = {}
    for part in sorted(folder.iterdir()) if folder.is_dir() else []:
        if part.is_dir() and not part.suffix:  # else a lock, or one that is being built
            try:
                known |= _open(part)
            except DataError:
                continue  # whose pictures are read anew
    return known


def _open(part: Path) -> dict[str, Regions]:
    """What one part holds.

    Raises:
        DataError: it is damaged, or not there.
    """
    try:
        description = json.loads((part / _FILES).read_bytes())
        names, shape, files = (description[key] for key in ("names", "shape", "files"))
        values = map_flat(part, _NAME, files).values.reshape(len(names), *shape)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{part} is damaged or missing: {error}; delete the folder, it is only a cache") from error
    return dict(zip(names, values, strict=True))


class _Reading(NamedTuple):
    """The pictures of `store` that are `missing`, a part of which begins at every PART-th."""

    store: PictureStore
    encoder: nn.Module
    names: Sequence[str]  # by content, of all pictures
    missing: Sequence[int]
    tell: Callable[[Preparing], None]

    def key(self, start: int) -> str:
        """The name of the part that begins there."""
        names = " ".join(self.names[number] for number in self.missing[start : start + PART])
        return hashlib.sha256(names.encode()).hexdigest()[:32]

    def build(self, start: int, folder: Path) -> None:
        """Read this part."""
        numbers = self.missing[start : start + PART]
        shape: tuple[int, ...] = ()
        with FlatWriter(folder, _NAME, "<f2") as writer:
            for done, number in enumerate(numbers, start):
                if done % _EVERY == 0:
                    self.tell(Preparing("pictures seen by the encoder", done, len(self.missing)))
                regions = self._regions(number)
                shape = regions.shape
                writer.append(regions.ravel())
            files = writer.finish()
        description = {"names": [self.names[number] for number in numbers], "shape": shape, "files": files}
        (folder / _FILES).write_text(json.dumps(description), encoding="utf-8")

    @torch.inference_mode()
    def _regions(self, number: int) -> Regions:
        device = next(self.encoder.parameters()).device
        regions: np.ndarray = self.encoder(self.store.pictures([number]).to(device))[0].float().cpu().numpy()
        return regions.astype(np.float16)


def fingerprint(encoder: nn.Module) -> str:
    """SHA-256 over the names and the bytes of all weights and statistics."""
    total = hashlib.sha256()
    for name, tensor in encoder.state_dict().items():
        total.update(name.encode())
        total.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return total.hexdigest()
