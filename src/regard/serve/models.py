"""The models that a server offers: opened once, by name, each with the languages it translates between."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from regard.checkpoint.model_folder import LoadedModel, load_model
from regard.checkpoint.shipped import default_model
from regard.decoding.search import SearchConfig
from regard.errors import UsageError
from regard.pipelines.caption import Captioner
from regard.pipelines.classify import Classification, Classifier
from regard.pipelines.classify_pictures import PictureClassification, PictureClassifier
from regard.pipelines.picture_input import SeenPicture
from regard.pipelines.translate import Translation, Translator, torch_engine
from regard.serve.queued import QueuedEngine, in_worker, together
from regard.serve.worker import Together, Worker

_LANGUAGE = "[A-Za-z]{2,3}(?:_[A-Za-z0-9]+)?"
_MODEL = re.compile(
    rf"(?:(?P<name>[A-Za-z0-9._-]{{1,100}})=)?(?P<folder>.+?)(?::(?P<source>{_LANGUAGE})-(?P<target>{_LANGUAGE}))?"
)

_FORM = "A model is [NAME=]FOLDER[:FROM-TO], such as chat=runs/chat or runs/small:en-de"
WORD = "a"  # any text: the answer does not matter


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
            raise UsageError(f"{text!r}: {_FORM}")
        folder = Path(found["folder"])
        if not folder.exists():
            _refuse_marks(text, found["folder"], has_languages=found["source"] is not None)
        named = folder.resolve().parent if folder.name == "model" else folder.resolve()
        return cls(found["name"] or named.name, folder, found["source"], found["target"])

    @classmethod
    def default(cls) -> "Place":
        """The model that comes with the package.

        Raises:
            UsageError: this installation brings none.
        """
        return cls(default_model().name, default_model())


def _refuse_marks(text: str, folder: str, *, has_languages: bool) -> None:
    """No such folder, and its name has a mark that was meant to part it from a name or from languages: say so.

    Raises:
        UsageError: it was.
    """
    before, equals, _ = folder.rpartition("=")
    if equals:
        raise UsageError(f"{text!r}: {before!r} is no name; it has letters, digits, `.`, `_` and `-`. {_FORM}")
    rest, colon, after = folder.rpartition(":")
    if colon and not has_languages:
        raise UsageError(f"{text!r}: {after!r} is no pair of languages; write {rest}:en-de, or {rest} alone. {_FORM}")


class ServedModel:
    """A model that says text. `translator` searches in the worker's queue; `engine` reaches its thread for all else."""

    def __init__(self, place: Place, loaded: LoadedModel, worker: Worker) -> None:
        self.name = place.name
        self.source = place.source or _language(loaded.card.source)
        self.target = place.target or _language(loaded.card.target)
        self.history = loaded.card.history
        self.engine = QueuedEngine(worker, place.name, torch_engine([loaded.model]))
        self.translator = Translator([loaded], engine=self.engine, run=self.engine.call)
        self._worker = worker

    @property
    def pair(self) -> tuple[str, str] | None:
        """The languages it translates between, if they are known."""
        return (self.source, self.target) if self.source and self.target else None

    def score(self, pairs: Sequence[tuple[str, str]], **search: object) -> list[Translation]:
        """How probable each second text is, as `Translator.score` has it, beside the pairs of other clients."""
        lengths = [sum(map(len, sides)) for sides in self.translator.encode_pairs(pairs)]
        lane = Together(self.name, self._score, self.translator.settings(**search))
        return together(self._worker, lane, pairs, lengths)

    def _score(self, pairs: list[tuple[str, str]], search: SearchConfig) -> list[Translation]:
        return self.translator.score(pairs, batch_size=len(pairs), length_penalty=search.length_penalty)

    def warm_up(self) -> None:
        """Say something."""
        self.translator.translate(WORD, beam_size=1, n_best=1)


class ServedLabeller:
    """A model that gives labels to texts, or words their tags."""

    source = target = None

    def __init__(self, place: Place, loaded: LoadedModel, worker: Worker) -> None:
        self.name = place.name
        self.classifier = Classifier([loaded])
        self.call = in_worker(worker)
        self._worker = worker

    def classify(self, texts: Sequence[str]) -> list[Classification]:
        """The label of each text, computed beside the texts of other clients."""
        lane = Together(self.name, self._classify)
        return together(self._worker, lane, texts, [len(self.classifier.encode(text)) for text in texts])

    def _classify(self, texts: list[str], _: None) -> list[Classification]:
        return self.classifier.classify(texts)

    def warm_up(self) -> None:
        """Give a label to something."""
        self.classify([WORD])


class ServedPictureLabeller:
    """A model that gives labels to pictures."""

    source = target = None

    def __init__(self, place: Place, loaded: LoadedModel, worker: Worker) -> None:
        self.name = place.name
        self.classifier = PictureClassifier([loaded])
        self._worker = worker

    def warm_up(self) -> None:
        """Give a label to a black picture."""
        self.classify(SeenPicture("", np.zeros(self.classifier.reader.shape, dtype=np.uint8)))

    def classify(self, picture: SeenPicture) -> PictureClassification:
        """The label of one picture, computed beside the pictures of other clients."""
        (found,) = together(self._worker, Together(self.name, self._classify), [picture], [1])
        return found

    def _classify(self, pictures: list[SeenPicture], _: None) -> list[PictureClassification]:
        return list(self.classifier.stream(pictures))


class ServedCaptioner:
    """A model that says what pictures show."""

    source = target = None

    def __init__(self, place: Place, loaded: LoadedModel, worker: Worker) -> None:
        self.name = place.name
        engine = QueuedEngine(worker, place.name, torch_engine([loaded.model]))
        self.captioner = Captioner([loaded], engine=engine, run=engine.call)

    def warm_up(self) -> None:
        """Say what a black picture shows."""
        nothing = np.zeros(self.captioner.reader.shape, dtype=np.uint8)
        next(self.captioner.captions([("", nothing)], beam_size=1, n_best=1))


Served = ServedCaptioner | ServedModel | ServedLabeller | ServedPictureLabeller
Kind = TypeVar("Kind", ServedCaptioner, ServedModel, ServedLabeller, ServedPictureLabeller)
WHAT = {
    ServedCaptioner: "says what pictures show",
    ServedModel: "says text",
    ServedLabeller: "gives labels to texts",
    ServedPictureLabeller: "gives labels to pictures",
}


class Models:
    """All models of a server, by name. Iterating gives those that say text."""

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
        self.loaded = {place.name: load_model(place.folder, device=device) for place in places}
        self.all: dict[str, Served] = {place.name: _serve(place, self.loaded[place.name], worker) for place in places}
        for name in names:
            worker.metrics.models.labels(name).set(1)

    def __iter__(self) -> Iterator[ServedModel]:
        return (model for model in self.all.values() if isinstance(model, ServedModel))

    def get(self, name: str | None) -> ServedModel:
        """The model called `name`; without a name the first that says text.

        Raises:
            UsageError: there is none of that name, or it is not for that.
        """
        return self.of_kind(ServedModel, name)

    def of_kind(self, kind: type[Kind], name: str | None) -> Kind:
        """The model of a kind called `name`; without a name the first of that kind.

        Raises:
            UsageError: there is none of that name, or it is not for that.
        """
        fitting = [model for model in self.all.values() if isinstance(model, kind)]
        if name is not None and name not in self.all:
            raise UsageError(f"there is no such model; there are {', '.join(self.all)}")
        found = [model for model in fitting if name in (None, model.name)]
        if not found:
            raise UsageError(f"{'no model here' if name is None else name + ': no model that'} {WHAT[kind]}")
        return found[0]

    def between(self, source: str, target: str) -> ServedModel | None:
        """The first model that translates from `source` to `target`."""
        return next((model for model in self if model.pair == (source, target)), None)


def _serve(place: Place, loaded: LoadedModel, worker: Worker) -> Served:
    if loaded.vocabularies.target.ends_with_eos:
        return (ServedCaptioner if loaded.vocabularies.reads_pictures else ServedModel)(place, loaded, worker)
    return (ServedPictureLabeller if loaded.vocabularies.reads_pictures else ServedLabeller)(place, loaded, worker)


def _language(name: str) -> str | None:
    """The name of a side of the corpus, if it can be that of a language."""
    return name if re.fullmatch(_LANGUAGE, name) else None
