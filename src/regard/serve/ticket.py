"""What one request is entitled to: an answer until its deadline, as long as somebody waits for it."""

import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any


class DeadlineError(Exception):
    """The answer took too long."""


class VoidError(Exception):
    """Nobody waits for the answer any more."""


class Ticket:
    """Handed from the server's front to the worker, which asks it at every step of a search whether to go on."""

    def __init__(self, seconds: float) -> None:
        self._deadline = time.monotonic() + seconds
        self._cancelled = False
        self._futures: list[Future[Any]] = []

    @property
    def remaining(self) -> float:
        """Seconds until the deadline."""
        return self._deadline - time.monotonic()

    @property
    def is_void(self) -> bool:
        """Whether nobody wants the answer any more."""
        return self._cancelled or self.remaining <= 0

    def watch(self, future: Future[Any]) -> None:
        """`future` is to be given up together with this ticket."""
        self._futures.append(future)

    def cancel(self) -> None:
        """The client has left: what waits is dropped, what runs ends with its next step."""
        self._cancelled = True
        for future in self._futures:
            future.cancel()


_CURRENT: ContextVar[Ticket | None] = ContextVar("ticket", default=None)
_FOR_EVER = 1e9


def current() -> Ticket:
    """The ticket of the request that this code runs for; an endless one where there is no request."""
    return _CURRENT.get() or Ticket(_FOR_EVER)


@contextmanager
def holding(ticket: Ticket) -> Iterator[Ticket]:
    """Within this context, and in threads that it starts, `current()` is `ticket`."""
    token = _CURRENT.set(ticket)
    try:
        yield ticket
    finally:
        _CURRENT.reset(token)
