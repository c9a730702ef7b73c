"""The one thread that computes. What many requests want of a model waits in one queue and is computed together.

A batch is the sentence that waits longest, and of those that may share a search with it (same model, same settings)
the ones most like it in length, as many as the token budget allows; and so with texts to be labelled, pairs to be
scored. Nobody waits for a batch to fill: what has come while the last one was computed, and just after it, is the next
one.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

from regard.decoding.search import Hypothesis, SearchConfig
from regard.pipelines.generate import MAX_POSITIONS, Request, TorchEngine, source_length
from regard.serve.interruptible import Interruptible, Listener
from regard.serve.metrics import Metrics
from regard.serve.ticket import DeadlineError as DeadlineError
from regard.serve.ticket import Ticket
from regard.serve.ticket import VoidError as VoidError

_LOG = logging.getLogger("regard.serve")
# Clients that have just been answered are given time to ask again: before a smaller batch is begun, nobody must have
# come for this share of the time that the last one took, and at most so many seconds.
LINGER, LONGEST_LINGER = 0.05, 0.05

Result = TypeVar("Result")


class OverloadedError(Exception):
    """Too many sentences wait already."""


class StoppingError(Exception):
    """The server is being stopped."""


class Lane(NamedTuple):
    """What sentences must have in common to be searched together."""

    model: str
    engine: TorchEngine
    config: SearchConfig


@dataclass(eq=False)
class _Search:
    """One sentence to be translated."""

    lane: Lane
    request: Request
    ticket: Ticket
    listener: Listener | None = None
    future: Future[list[Hypothesis]] = field(default_factory=Future)
    since: float = field(default_factory=time.monotonic)

    @property
    def length(self) -> int:
        return source_length(self.request.source)


class Together(NamedTuple):
    """What things must have in common to be computed at once, by `compute(things, settings)`: a result for each."""

    model: str
    compute: Callable[[list[Any], Any], Sequence[Any]]
    settings: Any = None


@dataclass(eq=False)
class _Item:
    """One thing that is computed beside others of its kind: a text to be labelled, a pair to be scored."""

    lane: Together
    item: Any
    length: int
    ticket: Ticket
    future: Future[Any] = field(default_factory=Future)
    since: float = field(default_factory=time.monotonic)


@dataclass(eq=False)
class _Call:
    """Anything else that computes with a model: looking at what it did."""

    function: Callable[[], Any]
    ticket: Ticket
    future: Future[Any] = field(default_factory=Future)
    since: float = field(default_factory=time.monotonic)


_Job = _Search | _Item | _Call
Batched = TypeVar("Batched", _Search, _Item)


class Worker:
    """Owns the models' thread. Its methods may be called from any other."""

    def __init__(self, *, batch_size: int = 64, max_queue: int = 2048, metrics: Metrics | None = None) -> None:
        self._batch_size = batch_size
        self._max_queue = max_queue
        self.metrics = metrics or Metrics()
        self._waiting: list[_Job] = []
        self._changed = threading.Condition()
        self._is_stopping = False
        self._last_size, self._last_seconds = 1, 0.0
        self._thread = threading.Thread(target=self._run, name="regard-worker", daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether work is taken."""
        return self._thread.is_alive() and not self._is_stopping

    @property
    def queue_length(self) -> int:
        """How many sentences and calls wait."""
        return len(self._waiting)

    def search(
        self, lane: Lane, requests: Sequence[Request], ticket: Ticket, listener: Listener | None = None
    ) -> list[Future[list[Hypothesis]]]:
        """Queue one sentence a request; the futures of their n best outputs.

        Raises:
            OverloadedError: the queue is full.
            StoppingError: the server is being stopped.
        """
        jobs = [_Search(lane, request, ticket, listener) for request in requests]
        self._enter(jobs)
        return [job.future for job in jobs]

    def compute(
        self, lane: Together, items: Sequence[Any], lengths: Sequence[int], ticket: Ticket
    ) -> list[Future[Any]]:
        """Queue things of these lengths, each to be computed beside what is like it; errors as those of `search`."""
        jobs = [_Item(lane, item, length, ticket) for item, length in zip(items, lengths, strict=True)]
        self._enter(jobs)
        return [job.future for job in jobs]

    def call(self, function: Callable[[], Result], ticket: Ticket) -> Future[Result]:
        """Queue a function that runs in the worker's thread; errors as those of `search`."""
        job = _Call(function, ticket)
        if threading.current_thread() is self._thread:  # it is running such a function now
            _settle(job.future, function)
            return job.future
        self._enter([job])
        return job.future

    def drain(self) -> None:
        """Refuse what waits and what comes; what is being computed goes on."""
        with self._changed:
            self._is_stopping = True
            refused, self._waiting = self._waiting, []
            self._changed.notify_all()
        for job in refused:
            if job.future.set_running_or_notify_cancel():
                job.future.set_exception(StoppingError())

    def stop(self, grace: float) -> None:
        """Refuse what waits and what comes, and wait `grace` seconds at most until what is being computed has ended."""
        self.drain()
        self._thread.join(grace)

    def _enter(self, jobs: Sequence[_Job]) -> None:
        with self._changed:
            if self._is_stopping:
                raise StoppingError
            if len(self._waiting) + len(jobs) > self._max_queue:
                raise OverloadedError
            for job in jobs:
                job.ticket.watch(job.future)
            self._waiting.extend(jobs)
            self._changed.notify_all()

    def _run(self) -> None:
        while (jobs := self._take()) is not None:
            running = [job for job in jobs if job.future.set_running_or_notify_cancel()]
            self.metrics.left_queue(len(jobs), len(running), [time.monotonic() - job.since for job in running])
            if not running:
                continue
            started = time.monotonic()
            if isinstance(running[0], _Call):
                _settle(running[0].future, running[0].function)
            elif isinstance(running[0], _Item):
                _halving([job for job in running if isinstance(job, _Item)], _compute)
            else:
                _halving([job for job in running if isinstance(job, _Search)], self._search)
            self._last_seconds = time.monotonic() - started

    def _take(self) -> Sequence[_Job] | None:
        """The next batch, or one call; None when there will be none."""
        with self._changed:
            expected = min(self._batch_size, len(self._waiting) + self._last_size)
            while not self._waiting:
                if self._is_stopping:
                    return None
                self._changed.wait()
            self._linger(expected)
            if not self._waiting:  # they were refused meanwhile
                return []
            oldest = self._waiting[0]
            taken = [oldest] if isinstance(oldest, _Call) else self._batch_around(oldest)
            gone = set(map(id, taken))
            self._waiting = [job for job in self._waiting if id(job) not in gone]
            self._last_size = len(taken)
            return taken

    def _linger(self, expected: int) -> None:
        """Until so many wait, or nobody has come for a while.

        Else those who have just been answered and those who waited meanwhile would take turns for ever.
        """
        waiting = -1
        while waiting < len(self._waiting) < expected and not self._is_stopping:
            waiting = len(self._waiting)
            self._changed.wait(min(LINGER * self._last_seconds, LONGEST_LINGER))

    def _batch_around(self, oldest: _Search | _Item) -> list[_Search | _Item]:
        alike = [job for job in self._waiting if not isinstance(job, _Call) and job.lane == oldest.lane]
        alike.sort(key=lambda job: abs(job.length - oldest.length))  # stable: of equal ones the older
        batch, longest = list[_Search | _Item](), 0
        config = oldest.lane.config if isinstance(oldest, _Search) else None
        beams = 1 if config is None or config.sampling else config.beam_size
        for job in alike[: self._batch_size]:
            longest = max(longest, job.length)
            if batch and longest * (len(batch) + 1) * beams > MAX_POSITIONS:
                break
            batch.append(job)
        return batch

    def _search(self, jobs: list[_Search]) -> list[list[Hypothesis]]:
        """One search of sentences that share a lane."""
        lane, started = jobs[0].lane, time.monotonic()
        model = Interruptible(
            lane.engine.model,
            is_void=[_is_given_up(job) for job in jobs],
            listeners=[job.listener for job in jobs],
            prefixes=[len(job.request.prefix) for job in jobs],
        )
        found = TorchEngine(model, lane.engine.device).search([job.request for job in jobs], lane.config)
        self.metrics.searched(lane.model, [job.length for job in jobs], found, time.monotonic() - started)
        return found


def _compute(jobs: list[_Item]) -> Sequence[Any]:
    lane = jobs[0].lane
    return lane.compute([job.item for job in jobs], lane.settings)


def _halving(jobs: list[Batched], compute: Callable[[list[Batched]], Sequence[Any]]) -> None:
    """All at once; if that fails, its halves, so that what fails does so alone."""
    try:
        found = compute(jobs)
    except Exception as error:
        if len(jobs) == 1:
            _LOG.error("computing with model %s failed", jobs[0].lane.model, exc_info=error)
            _fail(jobs[0].future, error)
            return
        for half in (jobs[: len(jobs) // 2], jobs[len(jobs) // 2 :]):
            _halving(half, compute)
        return
    for job, result in zip(jobs, found, strict=True):
        if not job.future.done():
            job.future.set_result(result)


def _is_given_up(job: _Search) -> Callable[[], bool]:
    """Whether nobody wants the sentence any more; who waited for it is told at once, not when the batch is done."""

    def ask() -> bool:
        if job.ticket.is_void and not job.future.done():
            job.future.set_exception(VoidError())
        return job.future.done()

    return ask


def _settle(future: Future[Any], function: Callable[[], Any]) -> None:
    try:
        future.set_result(function())
    except Exception as error:
        _fail(future, error)


def _fail(future: Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
