"""Server-sent events: what is known goes out while the rest is being found."""

import logging
from collections.abc import Iterator
from typing import Any

import orjson
from fastapi.responses import StreamingResponse

from regard.serve.errors import CODES, explain

_LOG = logging.getLogger("regard.serve")
STILL_HERE = b": still here\n\n"  # a comment, so that nothing between server and client gives up waiting


def event(name: str | None, value: dict[str, Any]) -> bytes:
    """One event; without a name, as OpenAI's clients want it."""
    head = b"" if name is None else f"event: {name}\n".encode()
    return head + b"data: " + orjson.dumps(value) + b"\n\n"


def respond(events: Iterator[bytes]) -> StreamingResponse:
    """The answer that sends `events` as they come. A failure after the first of them is the last one, `error`."""
    return StreamingResponse(
        _with_errors(events), media_type="text/event-stream", headers={"Cache-Control": "no-store"}
    )


def _with_errors(events: Iterator[bytes]) -> Iterator[bytes]:
    try:
        yield from events
    except Exception as error:
        status, message = explain(error)
        if status == 500:
            _LOG.error("a stream failed", exc_info=error)
        yield event("error", {"error": message, "code": CODES.get(status, "error")})


def begun(events: Iterator[bytes]) -> Iterator[bytes]:
    """`events`, of which the first is already there: what is wrong from the start gets a status of its own."""
    first = next(events)

    def all_of_them() -> Iterator[bytes]:
        yield first
        yield from events

    return all_of_them()
