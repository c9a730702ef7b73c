"""What the explorer page asks the server for, and the page itself (`regard.show.page`, given out without a trace).

A trace stays here under a random number while it is looked at, so that the page can ask for the parts that are too
many to send at once: the numbers behind the weights of one attention.
"""

from typing import Any

from fastapi import APIRouter, Response

from regard.errors import UsageError
from regard.pipelines.picture_input import SeenPicture
from regard.serve.answers import respond_json
from regard.serve.bodies import StrictRoute
from regard.serve.errors import ApiError
from regard.serve.interruptible import Stoppable
from regard.serve.looking import (
    ComparePictureRequest,
    CompareRequest,
    Kept,
    Kepts,
    LookRequest,
    PictureRequest,
    TraceRequest,
)
from regard.serve.models import Models
from regard.serve.offered import OfferedPictures
from regard.serve.pictures import seen_picture
from regard.serve.queued import in_worker
from regard.serve.settings import Settings
from regard.serve.ticket import current
from regard.show.document import Document, describe, details, with_details
from regard.show.page import SERVED_POLICY, page
from regard.show.viewer import Viewer, Wish, open_viewer
from regard.symbols import BOS, EOS, PAD
from regard.training.information import js_divergence

OVERRIDDEN = "With changed attention the two are not compared step by step."
EXAMPLE = "A man plays guitar on the stage."


def page_router() -> APIRouter:
    """`/explorer/`: the page."""
    routes, text = APIRouter(), page(served=True)

    @routes.get("/explorer/", include_in_schema=False)
    def give_page() -> Response:
        """One file; what it shows it asks for."""
        return Response(text, media_type="text/html; charset=utf-8", headers={"content-security-policy": SERVED_POLICY})

    return routes


def router(models: Models, settings: Settings, offered: OfferedPictures) -> APIRouter:
    """The routes under `/api/v1`."""
    routes, explorer = (
        APIRouter(prefix="/api/v1", route_class=StrictRoute, tags=["explorer"]),
        Explorer(models, offered),
    )

    @routes.get("/models")
    def list_models() -> Response:
        """The models by name, each with something to begin with; the pictures to choose from."""
        most = (settings.max_picture - 4096) * 3 // 4  # of a file, whose bytes come in base64
        return respond_json(
            {
                "models": explorer.descriptions(),
                "pictures": offered.thumbnails,
                "pictures_left_out": offered.left_out,
                "most_picture_bytes": most,
            }
        )

    @routes.post("/trace")
    def trace(request: TraceRequest) -> Response:
        """Everything there is to see of one sentence; `id` is the number under which more can be asked."""
        return respond_json(explorer.one(request, request.text))

    @routes.post("/compare")
    def compare(request: CompareRequest) -> Response:
        """The same of two models, and how far apart their distributions are on what the first one said."""
        return respond_json(explorer.two(request, request.text, request.other))

    @routes.post("/picture/trace")
    def picture_trace(request: PictureRequest) -> Response:
        """Everything there is to see of one picture."""
        return respond_json(explorer.one(request, request.picture))

    @routes.post("/picture/compare")
    def picture_compare(request: ComparePictureRequest) -> Response:
        """The same picture to two models."""
        return respond_json(explorer.two(request, request.picture, request.other))

    @routes.get("/trace/{number}/sites/{site}")
    def site_details(number: str, site: str) -> Response:
        """What the weights and the context of one attention were made of."""
        seen = explorer.kepts.get(number).trace.sites.get(site)
        if seen is None:
            raise ApiError(404, "this model has no such attention")
        return respond_json(details(seen))

    @routes.get("/trace/{number}/influence")
    def influence(number: str) -> Response:
        """Nats that each step loses without each word of the source, or each region of the picture."""
        return respond_json(explorer.influences(explorer.kepts.get(number)))

    @routes.get("/trace/{number}/page")
    def whole_page(number: str) -> Response:
        """The page with this trace in it, which needs no server."""
        kept = explorer.kepts.get(number)
        text = page(with_details(kept.document, kept.trace))
        return Response(text, media_type="text/html; charset=utf-8", headers={"content-security-policy": "sandbox"})

    return routes


class Explorer:
    """Looks with every model of a server, in its worker's thread, and keeps what is seen."""

    def __init__(self, models: Models, offered: OfferedPictures) -> None:
        self.kepts = Kepts()
        self._viewers: dict[str, Viewer[Any]] = {name: open_viewer(loaded) for name, loaded in models.loaded.items()}
        self._offered = offered
        self._call = in_worker(models.worker)

    def descriptions(self) -> list[Document]:
        """The models by name."""
        return [_description(name, viewer) for name, viewer in self._viewers.items()]

    def one(self, request: LookRequest, source: str | int) -> Document:
        """A trace and its number."""
        name = self._name(request.model)
        return self._keep(self._look(name, source, request, asked=self._viewers[name]))

    def two(self, request: LookRequest, source: str | int, other: str) -> Document:
        """Two traces, and how far apart they are."""
        first, second = self._name(request.model), self._name(other)
        if _reads_pictures(self._viewers[first]) != _reads_pictures(self._viewers[second]):
            raise UsageError(f"{first} and {second} cannot be compared: one reads pictures, the other text")
        asked = self._viewers[first]
        one = self._look(first, source, request, asked=asked)
        same = request if second == first else request.model_copy(update={"override": None})
        beside = self._look(second, source, same, asked=asked)
        divergence, reason = self._divergence(one, beside) if request.override is None else (None, OVERRIDDEN)
        return {"trace": self._keep(one), "other": self._keep(beside), "divergence": divergence, "reason": reason}

    def influences(self, kept: Kept) -> Document:
        """See `Viewer`."""
        return self._call(lambda: kept.viewer.influences(kept.trace, kept.source))

    def _name(self, name: str | None) -> str:
        if not self._viewers:
            raise UsageError("no model here has anything to show")
        if name is not None and name not in self._viewers:
            raise UsageError(f"there is no such model; there are {', '.join(self._viewers)}")
        return next(iter(self._viewers)) if name is None else name

    def _look(self, name: str, given: str | int, request: LookRequest, *, asked: Viewer[Any]) -> Kept:
        viewer = self._viewers[name]
        source, notice = self._source(viewer, name, given, request)
        override = None if request.override is None else request.override.override()
        ticket = current()  # of this thread: the worker's has none
        wish = Wish(
            _prefix(request, asked, viewer), override, request.search.settings(), lambda model: Stoppable(model, ticket)
        )

        def work() -> Kept:
            trace = viewer.trace(source, wish)
            return Kept(viewer, source, trace, viewer.document(trace, source, name) | {"notice": notice})

        return self._call(work)

    def _keep(self, kept: Kept) -> Document:
        """What the page gets of it: the document, and the number to ask for more with."""
        return {"id": self.kepts.add(kept), **kept.document}

    def _source(self, viewer: Viewer[Any], name: str, given: str | int, request: LookRequest) -> tuple[Any, str | None]:
        if _reads_pictures(viewer) != isinstance(request, PictureRequest):
            wanted = "a picture" if _reads_pictures(viewer) else "a text"
            raise UsageError(f"{name} reads {wanted}")
        if not isinstance(request, PictureRequest):
            return given, None
        reader = viewer.loaded.vocabularies.pictures
        seen: SeenPicture = self._offered.seen(given, reader) if isinstance(given, int) else seen_picture(given, reader)
        return seen.pixels, seen.notice

    def _divergence(self, first: Kept, second: Kept) -> tuple[list[float] | None, str | None]:
        """JSD in nats of two models at every step of what the first one said; or why there is none."""
        if first.viewer.loaded.vocabularies.target != second.viewer.loaded.vocabularies.target:
            return None, "The two models have different vocabularies, so what they say cannot be compared step by step."

        def work() -> tuple[list[float] | None, str | None]:
            p, q = (kept.viewer.distributions(first.trace, kept.source) for kept in (first, second))
            if p.shape != q.shape:
                return None, "The two models take different numbers of steps, so these cannot be compared one by one."
            return js_divergence(p, q).tolist(), None

        return self._call(work)


def _reads_pictures(viewer: Viewer[Any]) -> bool:
    return viewer.loaded.vocabularies.reads_pictures


def _prefix(request: LookRequest, asked: Viewer[Any], viewer: Viewer[Any]) -> str | list[int]:
    """The beginning of the output for `viewer`; ids are those of `asked`, and words where the two differ."""
    if isinstance(request.prefix, str):
        return request.prefix
    tokenizer = asked.loaded.vocabularies.target
    if any(not 0 <= token < tokenizer.size or token in (PAD, BOS, EOS) for token in request.prefix):
        raise UsageError("prefix: these are not ids of words in the target vocabulary")
    if viewer.loaded.vocabularies.target == tokenizer:
        return request.prefix
    return tokenizer.decode(request.prefix)


def _description(name: str, viewer: Viewer[Any]) -> Document:
    reads = "picture" if _reads_pictures(viewer) else "text"
    example = "" if reads == "picture" else _example(viewer)
    return describe(viewer.loaded, name) | {
        "reads": reads,
        "says": viewer.says,
        "verb": viewer.verb,
        "example": example,
    }


def _example(viewer: Viewer[Any]) -> str:
    """A sentence to begin with, or a word where the model spells."""
    ids = viewer.loaded.vocabularies.source_tokenizer.encode(EXAMPLE)
    return EXAMPLE if len(ids) < len(EXAMPLE) * 2 // 3 else "attention"
