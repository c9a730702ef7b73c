"""What the explorer page may ask for, field by field, and the traces that are looked at."""

import secrets
import threading
from collections import OrderedDict
from typing import Annotated, Any, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field

from regard.attention.override import Override
from regard.pipelines.trace import SentenceTrace
from regard.serve.errors import ApiError
from regard.show.document import Document
from regard.show.viewer import Viewer

MOST_TRACES = 64
MOST_BYTES = 512 << 20  # of all traces kept
LONGEST_TEXT = 5_000  # characters
WIDEST_BEAM = 50
GREATEST_SEED = 2**32

Weights = Annotated[list[float], Field(min_length=1, max_length=4096)]


class Asked(BaseModel):
    """Unknown fields are mistakes."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class OverrideRequest(Asked):
    """Weights to use instead of the model's own: see `regard.attention.override.Override`."""

    site: str
    head: int = Field(ge=0)
    query: int = Field(ge=0)
    weights: Weights

    def override(self) -> Override:
        """The same with a tensor."""
        return Override(self.site, self.head, self.query, torch.tensor(self.weights))


class SearchRequest(Asked):
    """Settings of the search that the page can change; the others are the model's own."""

    beam_size: int | None = Field(None, ge=1, le=WIDEST_BEAM)
    length_penalty: float | None = Field(None, ge=0, le=5)
    sampling: bool | None = None
    temperature: float | None = Field(None, gt=0, le=10)
    top_k: int | None = Field(None, ge=0, le=100_000)
    top_p: float | None = Field(None, gt=0, le=1)
    seed: int | None = Field(None, ge=0, lt=GREATEST_SEED)

    def settings(self) -> dict[str, Any]:
        """What was set; with what the model's own search has and what would have no effect then, switched off."""
        given = {name: value for name, value in self.model_dump().items() if value is not None}
        if self.sampling or self.beam_size == 1:
            given["early_stopping"] = False
        if self.sampling:
            given["coverage_penalty"] = 0.0
        if self.sampling is False:
            given |= {"temperature": 1.0, "top_k": 0, "top_p": 1.0}
        return given | ({} if self.beam_size is None else {"n_best": 1})


class LookRequest(Asked):
    """How something shall be looked at. Its output begins with `prefix`: words, or ids of the target vocabulary."""

    model: str | None = None
    prefix: str | Annotated[list[int], Field(max_length=1024)] = ""
    override: OverrideRequest | None = None
    search: SearchRequest = Field(default_factory=lambda: SearchRequest.model_validate({}))


class TraceRequest(LookRequest):
    """A sentence to look at."""

    text: str = Field(max_length=LONGEST_TEXT)


class PictureRequest(LookRequest):
    """A picture to look at: a file in base64, or the number of one that was named when the server was started."""

    picture: str | Annotated[int, Field(ge=0)]


class CompareRequest(TraceRequest):
    """The same sentence to two models."""

    other: str


class ComparePictureRequest(PictureRequest):
    """The same picture to two models."""

    other: str


class Kept(NamedTuple):
    """A trace that somebody looks at, what it is of, and whose it is."""

    viewer: Viewer[Any]
    source: Any
    trace: SentenceTrace
    document: Document

    @property
    def size(self) -> int:
        """Bytes of its tensors, about."""
        seen = self.trace.sites.values()
        values = sum(each.values.numel() for each in seen if each.values is not None)
        return 4 * (values + sum(2 * each.weights.numel() + 3 * each.context.numel() for each in seen))


class Kepts:
    """The traces looked at last, by number; the oldest make room, but two always fit. Many threads use it."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Kept] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, kept: Kept) -> str:
        """Keep it; its number."""
        number = secrets.token_hex(16)
        with self._lock:
            self._kept[number] = kept
            while len(self._kept) > 2 and (len(self._kept) > MOST_TRACES or self._bytes() > MOST_BYTES):
                self._kept.popitem(last=False)
        return number

    def get(self, number: str) -> Kept:
        """The trace of that number.

        Raises:
            ApiError: there is none, or not any more.
        """
        with self._lock:
            if number not in self._kept:
                raise ApiError(404, "this is not kept any more; ask for it again")
            self._kept.move_to_end(number)
            return self._kept[number]

    def _bytes(self) -> int:
        return sum(kept.size for kept in self._kept.values())
