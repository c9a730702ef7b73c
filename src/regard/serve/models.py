"""The models that a server offers: opened once, by name, each with the languages it translates between."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from regard.checkpoint.model_folder import LoadedModel, load_model
from regard.errors import UsageError
from regard.pipelines.translate import SHIPPED, Translator, torch_engine
from regard.serve.queued import QueuedEngine
from regard.serve.worker import Worker

_LANGUAGE = "[A-Za-z]{2,3}(?:_[A-Za-z0-9]+)?"
_MODEL = re.compile(
    rf"(?:(?P<name>[A-Za-z0-9._-]{{1,100}})=)?(?P<folder>.+?)(?::(?P<source>{_LANGUAGE})-(?P<target>{_LANGUAGE}))?"
)


class Place(NamedTuple):
    """Where a model is and what it is called: `[NAME=]FOLDER[:en-de]` on the command line."""

    name: str
    folder: Path
    source: str | None = None
    target: str | None = None

    @classmethod
    def parse(cls, text: str) -> "Place":
        """Read what stands on the command line; without a name it is that of the folder (not of its `model`).

        Raises:
            UsageError: it is not of that form.
        """
        found = _MODEL.fullmatch(text)
        if not found:
            raise UsageError(
                f"{text!r}: a model is [NAME=]FOLDER[:FROM-TO], such as chat=runs/chat or runs/small:en-de"
            )
        folder = Path(found["folder"])
        named = folder.resolve().parent if folder.name == "model" else folder.resolve()
        return cls(found["name"] or named.name, folder, found["source"], found["target"])


def shipped() -> Place:
    """The model that comes with the package.

    Raises:
        UsageError: this installation brings none.
    """
    if not SHIPPED.is_dir():
        raise UsageError("name a model folder: this installation brings no model of its own")
    source, _, target = SHIPPED.name.partition("-")
    return Place(SHIPPED.name, SHIPPED, source, target)


class ServedModel:
    """One model. `translator` searches in the worker's queue; `engine` is how anything else reaches its thread."""

    def __init__(self, place: Place, loaded: LoadedModel, worker: Worker) -> None:
        self.name = place.name
        self.source = place.source
        self.target = place.target
        self.history = 1
        self.engine = QueuedEngine(worker, place.name, torch_engine([loaded.model]))
        self.translator = Translator([loaded], engine=self.engine, run=self.engine.call)

    @property
    def pair(self) -> tuple[str, str] | None:
        """The languages it translates between, if they are known."""
        return (self.source, self.target) if self.source and self.target else None


class Models:
    """All models of a server, by name."""

    def __init__(self, places: Sequence[Place], worker: Worker, *, device: str = "cpu") -> None:
        """Open them.

        Raises:
            UsageError: two have one name.
            ModelError: one cannot be opened.
        """
        names = [place.name for place in places]
        for name in names:
            if names.count(name) > 1:
                raise UsageError(f"two models are called {name}; give them names: first=FOLDER second=FOLDER")
        self.worker = worker
        self._models = {
            place.name: ServedModel(place, load_model(place.folder, device=device), worker) for place in places
        }
        for name in names:
            worker.metrics.models.labels(name).set(1)

    def __iter__(self) -> Iterator[ServedModel]:
        return iter(self._models.values())

    def __len__(self) -> int:
        return len(self._models)

    def get(self, name: str | None) -> ServedModel:
        """The model called `name`; without a name the first.

        Raises:
            UsageError: there is none of that name.
        """
        if name is None:
            return next(iter(self._models.values()))
        if name not in self._models:
            raise UsageError(f"there is no such model; there are {', '.join(self._models)}")
        return self._models[name]

    def between(self, source: str, target: str) -> ServedModel | None:
        """The first model that translates from `source` to `target`."""
        return next((model for model in self if model.pair == (source, target)), None)
