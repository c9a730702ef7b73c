"""Pictures in, labels out: a model folder becomes a `PictureClassifier`, a file becomes a `PictureClassification`."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regard.attention.record import AttentionRecord
from regard.checkpoint.model_folder import LoadedModel, load_model
from regard.errors import DataError, UsageError
from regard.pipelines.classify import labellers
from regard.pipelines.label import best_labels, label_parts, label_pictures, rows_of_pictures
from regard.pipelines.large_picture import LargePicture
from regard.pipelines.picture_input import SeenPicture, paths_of, read_inputs
from regard.protocol import Labeller, SeesParts
from regard.symbols import NAMES


@dataclass(frozen=True)
class PictureClassification:
    """What label a picture got, and how sure the model is of it.

    `source` is its name, `pixels` (height, width, channels) are those that the model saw: a picture too large to be
    decoded whole is grey where no glimpse looked. `probabilities` has every label, the most probable first. `notice`
    is what a user should know. What could not be read has no label.
    """

    source: str
    label: str
    probability: float
    probabilities: dict[str, float]
    pixels: NDArray[np.uint8] | None
    notice: str | None = None
    _classifier: "PictureClassifier | None" = field(default=None, repr=False, compare=False)
    _parts: LargePicture | None = field(default=None, repr=False, compare=False)

    @cached_property
    def looked(self) -> "LookedAt":
        """Where the model looked, from one replay."""
        assert self._classifier is not None
        assert self.pixels is not None, "nothing was read"
        return self._classifier.look(self.pixels if self._parts is None else self._parts)


@runtime_checkable
class HasGrid(Protocol):
    """A model whose regions lie in rows and columns."""

    grid: tuple[int, int]


@dataclass(frozen=True)
class LookedAt:
    """Weights (rows, columns) of the regions by site, the mean of heads; boxes (steps, scales, 4) of the glimpses."""

    maps: dict[str, NDArray[np.float32]]
    glimpses: NDArray[np.float32] | None


class PictureClassifier:
    """A model folder, or several that share their readers and labels as an ensemble (the mean of their probabilities).

    >>> regard.PictureClassifier.load("runs/mnist/model").classify(["seven.png"])[0].label
    """

    def __init__(self, loaded: Sequence[LoadedModel]) -> None:
        """Use models on the device where they are.

        Raises:
            UsageError: the vocabularies differ, or a model reads text, or gives no labels.
        """
        self._models = labellers(loaded)
        self.loaded = list(loaded)
        self.vocabularies = loaded[0].vocabularies
        self.reader = self.vocabularies.pictures
        self._device = next(loaded[0].model.parameters()).device

    @classmethod
    def load(cls, *folders: str | Path, device: str = "cpu") -> "PictureClassifier":
        """Open a model folder, or the best model of a run folder; several become an ensemble.

        Raises:
            ModelError: a folder is missing, damaged, foreign, or holds what could run code.
            UsageError: none is named, the models' vocabularies differ, or one gives no labels to pictures.
        """
        if not folders:
            raise UsageError("name a model folder with -m")
        return cls([load_model(folder, device=device) for folder in folders])

    @property
    def model(self) -> Labeller:
        """The first model: the one whose attention is shown."""
        return self._models[0]

    def classify(self, paths: str | Path | Iterable[str | Path]) -> list[PictureClassification]:
        """One classification for each picture of files, folders and IDX files, in order.

        Raises:
            TypeError: something is no path.
            DataError: a folder holds no picture, or an IDX file is damaged.
        """
        return list(self.stream(self.read(paths_of(paths))))

    def read(self, paths: Iterable[str | Path]) -> Iterator[SeenPicture]:
        """The pictures of files, folders and IDX files, in order, each when it is asked for.

        Raises:
            DataError: a folder holds no picture, or an IDX file is damaged.
        """
        by_parts = all(isinstance(model, SeesParts) for model in self._models)
        return read_inputs(paths, self.reader, by_parts=by_parts)

    def stream(self, pictures: Iterable[SeenPicture]) -> Iterator[PictureClassification]:
        """One classification a picture, as they come; no more pictures are in memory than make a batch."""
        pictures = iter(pictures)
        while batch := list(islice(pictures, rows_of_pictures(self.reader.height, self.reader.width))):
            readable = [picture.pixels for picture in batch if picture.pixels is not None]
            tensors = [self.reader.tensor(np.stack(readable))] if readable else []
            found = label_pictures(self._models, tensors, device=self._device)
            for picture in batch:
                if picture.parts is not None:
                    yield self._large(picture, picture.parts)
                else:
                    yield self._classification(picture, None if picture.pixels is None else next(found))

    @torch.inference_mode()
    def look(self, picture: NDArray[np.uint8] | LargePicture) -> LookedAt:
        """Where the first model looks on one picture of the reader's size, or on a large one."""
        record, model = AttentionRecord(), self._models[0]
        if isinstance(picture, LargePicture):
            assert isinstance(model, SeesParts)
            model.label_parts(picture, record)
        else:
            model.label(self.reader.tensor(picture[None]).to(self._device), record)
        maps = {}
        for site in record.sites:
            assert isinstance(model, HasGrid), "a model that attends to regions says how they lie"
            maps[site] = record.weights(site)[0].mean((0, 1)).view(model.grid).float().cpu().numpy()
        return LookedAt(maps, record.glimpses[0].float().cpu().numpy() if record.has_glimpses else None)

    def _large(self, picture: SeenPicture, parts: LargePicture) -> PictureClassification:
        """Of a picture that is read while the models look at it; only then is it known whether it can be read."""
        try:
            found = label_parts([model for model in self._models if isinstance(model, SeesParts)], parts)
        except DataError as error:
            return self._classification(picture._replace(notice=str(error)), None)
        return replace(self._classification(picture._replace(pixels=parts.seen), found), _parts=parts)

    def _classification(self, picture: SeenPicture, probabilities: Tensor | None) -> PictureClassification:
        if probabilities is None:
            return PictureClassification(picture.name, "", 0.0, {}, None, picture.notice, self)
        values, order = probabilities[0].sort(descending=True, stable=True)
        names = self.vocabularies.target.pieces([len(NAMES) + place for place in order.tolist()])
        return PictureClassification(
            source=picture.name,
            label=self.vocabularies.target.decode(best_labels(probabilities)),
            probability=float(values[0]),
            probabilities=dict(zip(names, values.tolist(), strict=True)),
            pixels=picture.pixels,
            notice=picture.notice,
            _classifier=self,
        )
