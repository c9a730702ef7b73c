"""What the explorer page asks the server for, and the page itself (`regard.show.page`, given out without a trace).

A trace stays here under a random number while it is looked at, so that the page can ask for the parts that are too
many to send at once: the numbers behind the weights of one attention.
"""

import secrets
import threading
from collections import OrderedDict
from typing import Annotated, Any, NamedTuple

import orjson
import torch
from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field

from regard.attention.record import Override
from regard.errors import UsageError
from regard.pipelines.trace import SentenceTrace, next_token_distributions, trace_sentence
from regard.pipelines.translate import Translator
from regard.serve.bodies import StrictRoute
from regard.serve.errors import ApiError
from regard.serve.models import Models, ServedModel
from regard.show.document import Document, describe, details, document, influences, with_details
from regard.show.page import SERVED_POLICY, page
from regard.symbols import BOS, EOS, PAD
from regard.training.information import js_divergence

MOST_TRACES = 64
MOST_BYTES = 512 << 20  # of all traces kept
LONGEST_TEXT = 5_000  # characters
WIDEST_BEAM = 50
EXAMPLE = "A man plays guitar on the stage."

Weights = Annotated[list[float], Field(min_length=1, max_length=4096)]


class OverrideRequest(BaseModel):
    """Weights to use instead of the model's own: see `regard.attention.record.Override`."""

    model_config = ConfigDict(extra="forbid")
    site: str
    head: int = Field(ge=0)
    query: int = Field(ge=0)
    weights: Weights


class SearchRequest(BaseModel):
    """Settings of the search that the page can change; the others are the model's own."""

    model_config = ConfigDict(extra="forbid")
    beam_size: int | None = Field(None, ge=1, le=WIDEST_BEAM)
    length_penalty: float | None = Field(None, ge=0, le=5)


class TraceRequest(BaseModel):
    """A sentence to look at. Its output begins with `prefix`: words, or ids of the target vocabulary."""

    model_config = ConfigDict(extra="forbid")
    text: str = Field(max_length=LONGEST_TEXT)
    model: str | None = None
    prefix: str | Annotated[list[int], Field(max_length=1024)] = ""
    override: OverrideRequest | None = None
    search: SearchRequest = Field(default_factory=lambda: SearchRequest(beam_size=None, length_penalty=None))


class CompareRequest(TraceRequest):
    """The same sentence to two models."""

    other: str


class Kept(NamedTuple):
    """A trace that somebody looks at."""

    model: ServedModel
    trace: SentenceTrace
    document: Document
    size: int


class Kepts:
    """The traces looked at last, by number; the oldest make room. Many threads use it."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Kept] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, kept: Kept) -> str:
        """Keep it; its number."""
        number = secrets.token_hex(16)
        with self._lock:
            self._kept[number] = kept
            while len(self._kept) > 1 and (len(self._kept) > MOST_TRACES or self._bytes() > MOST_BYTES):
                self._kept.popitem(last=False)
        return number

    def get(self, number: str) -> Kept:
        """The trace of that number.

        Raises:
            ApiError: there is none, or not any more.
        """
        with self._lock:
            if number not in self._kept:
                raise ApiError(404, "this sentence is not kept any more; ask for it again")
            self._kept.move_to_end(number)
            return self._kept[number]

    def _bytes(self) -> int:
        return sum(kept.size for kept in self._kept.values())


def page_router() -> APIRouter:
    """`/explorer/`: the page."""
    routes, text = APIRouter(), page(served=True)

    @routes.get("/explorer/", include_in_schema=False)
    def give_page() -> Response:
        """One file; what it shows it asks for."""
        return Response(text, media_type="text/html; charset=utf-8", headers={"content-security-policy": SERVED_POLICY})

    return routes


def router(models: Models) -> APIRouter:
    """The routes under `/api/v1`."""
    routes, kepts = APIRouter(prefix="/api/v1", route_class=StrictRoute, tags=["explorer"]), Kepts()

    @routes.get("/models")
    def list_models() -> Response:
        """The models by name, each with a sentence to begin with."""
        return _json({"models": [_description(model) for model in models]})

    @routes.post("/trace")
    def trace(request: TraceRequest) -> Response:
        """Everything there is to see of one sentence; `id` is the number under which more can be asked."""
        return _json(_look(models, kepts, request, request.model))

    @routes.post("/compare")
    def compare(request: CompareRequest) -> Response:
        """The same of two models, and how far apart their next-token distributions are on what the first one said."""
        first, second = (_look(models, kepts, request, name) for name in (request.model, request.other))
        divergence, reason = _divergence(kepts.get(first["id"]), models.get(request.other))
        return _json({"trace": first, "other": second, "divergence": divergence, "reason": reason})

    @routes.get("/trace/{number}/sites/{site}")
    def site_details(number: str, site: str) -> Response:
        """What the weights and the context of one attention were made of."""
        seen = kepts.get(number).trace.sites.get(site)
        if seen is None:
            raise ApiError(404, "this model has no such attention")
        return _json(details(seen))

    @routes.get("/trace/{number}/influence")
    def word_influence(number: str) -> Response:
        """Nats that each target token loses without each source word."""
        kept = kepts.get(number)
        return _json(kept.model.engine.call(lambda: influences(kept.model.translator, kept.trace)))

    @routes.get("/trace/{number}/page")
    def whole_page(number: str) -> Response:
        """The page with this sentence in it, which needs no server."""
        kept = kepts.get(number)
        text = page(with_details(kept.document, kept.trace))
        return Response(text, media_type="text/html; charset=utf-8", headers={"content-security-policy": "sandbox"})

    return routes


def _look(models: Models, kepts: Kepts, request: TraceRequest, name: str | None) -> Document:
    """Trace the sentence in the worker's thread and keep what came out."""
    model = models.get(name)
    prefix = _prefix(request, models.get(request.model), model)
    settings = {key: value for key, value in request.search.model_dump().items() if value is not None}

    def work() -> tuple[SentenceTrace, Document]:
        override = None if request.override is None or name != request.model else _override(request.override)
        trace = trace_sentence(model.translator, request.text, prefix=prefix, override=override, **settings)
        return trace, document(model.translator, trace, text=request.text, name=model.name)

    trace, made = model.engine.call(work)
    number = kepts.add(Kept(model, trace, made, _size(trace)))
    return {"id": number, **made}


def _override(given: OverrideRequest) -> Override:
    return Override(given.site, given.head, given.query, torch.tensor(given.weights))


def _prefix(request: TraceRequest, asked: ServedModel, model: ServedModel) -> str | list[int]:
    """The beginning of the output for `model`; ids are those of `asked`, and words where the two differ."""
    if isinstance(request.prefix, str):
        return request.prefix
    tokenizer = asked.translator.vocabularies.target
    if any(not 0 <= token < tokenizer.size or token in (PAD, BOS, EOS) for token in request.prefix):
        raise UsageError("prefix: these are not ids of words in the target vocabulary")
    if model.translator.vocabularies.target == tokenizer:
        return request.prefix
    return tokenizer.decode(request.prefix)


def _divergence(first: Kept, other: ServedModel) -> tuple[list[float] | None, str | None]:
    """JSD in nats of the two models' distributions at every step of the first one's output; or why there is none."""
    if first.model.translator.vocabularies != other.translator.vocabularies:
        return None, "The two models have different vocabularies, so their next tokens cannot be compared one by one."
    pair = first.trace.source, first.trace.target[:-1]

    def work() -> list[float]:
        p, q = (next_token_distributions(each.translator.loaded[0].model, *pair) for each in (first.model, other))
        return js_divergence(p, q).tolist()

    return other.engine.call(work), None


def _description(model: ServedModel) -> dict[str, Any]:
    return describe(model.translator.loaded[0], model.name) | {"example": _example(model.translator)}


def _example(translator: Translator) -> str:
    """A sentence to begin with, or a word where the model spells."""
    source = translator.vocabularies.source_tokenizer
    ids = source.encode(EXAMPLE)
    return EXAMPLE if len(ids) < len(EXAMPLE) * 2 // 3 else "attention"


def _size(trace: SentenceTrace) -> int:
    """Bytes of its tensors, about."""
    return sum(
        4 * (seen.weights.numel() * 2 + 3 * seen.context.numel() + (0 if seen.values is None else seen.values.numel()))
        for seen in trace.sites.values()
    )


def _json(content: Any) -> Response:
    return Response(orjson.dumps(content), media_type="application/json")
