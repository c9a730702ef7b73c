"""The engine of a served model: what a `Translator` wants searched waits in the worker's queue with all the others."""

from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from regard.decoding.search import Hypothesis, SearchConfig
from regard.pipelines.generate import Request, Run, TorchEngine
from regard.serve.ticket import DeadlineError, Ticket, VoidError, current
from regard.serve.worker import Lane, Together, Worker

Result = TypeVar("Result")
# A stream that waits for its turn so long says that it is still there, in seconds.
PATIENCE = 5.0


class QueuedEngine:
    """Runs in the threads of requests, which only wait; the worker's thread computes."""

    def __init__(self, worker: Worker, name: str, engine: TorchEngine) -> None:
        self._worker = worker
        self._name = name
        self.torch = engine

    def search(self, requests: Sequence[Request], config: SearchConfig) -> list[list[Hypothesis]]:
        """The n best outputs of every request, searched beside those of other clients.

        Raises:
            OverloadedError, StoppingError, DeadlineError, VoidError: as their names say.
        """
        ticket = current()
        futures = self._worker.search(Lane(self._name, self.torch, config), requests, ticket)
        return [wait_for(future, ticket) for future in futures]

    def stream(self, request: Request, config: SearchConfig) -> Iterator[int]:
        """The tokens of one output, each as soon as it is known (beam of 1, or a sample)."""
        said = 0
        for best in self.updates(request, config):
            if best is not None:
                yield from best[said:]
                said = len(best)

    def updates(self, request: Request, config: SearchConfig) -> Generator[list[int] | None, None, list[Hypothesis]]:
        """The ids of the best hypothesis after each step, None where nothing comes for a while; returns the n best.

        Raises:
            OverloadedError, StoppingError, DeadlineError, VoidError: as their names say.
        """
        ticket, news = current(), SimpleQueue[list[int] | None]()
        lane = Lane(self._name, self.torch, config)
        (future,) = self._worker.search(lane, [request], ticket, news.put)
        future.add_done_callback(lambda _: news.put(None))
        while True:
            try:
                best = news.get(timeout=max(0.0, min(PATIENCE, ticket.remaining)))
            except Empty:
                if ticket.is_void:
                    break
                yield None
                continue
            if best is None:
                break
            yield best
        return wait_for(future, ticket)

    def call(self, compute: Callable[[], Result]) -> Result:
        """What else computes with the model, in the worker's thread."""
        return in_worker(self._worker)(compute)


def in_worker(worker: Worker) -> Run:
    """Runs what computes with a model in the thread of `worker`."""

    def call(compute: Callable[[], Result]) -> Result:
        ticket = current()
        return wait_for(worker.call(compute, ticket), ticket)

    return call


def together(worker: Worker, lane: Together, items: Sequence[Any], lengths: Sequence[int]) -> list[Any]:
    """What `lane` computes of each of the items (of these lengths), beside those of other clients.

    Raises:
        OverloadedError, StoppingError, DeadlineError, VoidError: as their names say.
    """
    ticket = current()
    return [wait_for(future, ticket) for future in worker.compute(lane, items, lengths, ticket)]


def wait_for(future: "Future[Result]", ticket: Ticket) -> Result:
    """The result, if it comes before the deadline.

    Raises:
        DeadlineError: it does not.
        VoidError: the client has left.
    """
    try:
        return future.result(timeout=max(0.0, min(ticket.remaining, 1e6)))
    except (FutureTimeoutError, CancelledError, VoidError):
        ticket.cancel()
        raise _reason(ticket) from None


def _reason(ticket: Ticket) -> Exception:
    return DeadlineError() if ticket.remaining <= 0 else VoidError()
