"""What stands before every route: bounds on time and size, so that one client cannot hurt another.

A plain ASGI layer, the same behind every HTTP server. It takes in the whole body before any route runs (408 if that
takes too long, 413 if it is too much), refuses what is too many at a time (429), asks for the key, and when a client
leaves, it cancels its ticket and the route that works for it.
"""

import asyncio
import contextlib
import hmac
import re
import time
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import orjson

from regard.serve.errors import error_body, error_headers
from regard.serve.metrics import Metrics
from regard.serve.settings import Settings
from regard.serve.ticket import Ticket, holding

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

# Answered without a key and however busy the server is: whoever watches over it asks here.
OPEN = ("/health", "/health/live", "/health/ready")
ALWAYS = (*OPEN, "/metrics")
# LibreTranslate's clients send their key in the body, where the route looks for it.
KEY_IN_BODY = ("/translate", "/detect", "/languages")
PICTURES = ("/v1/caption", "/v1/classify/picture", "/api/v1/picture/trace", "/api/v1/picture/compare")
LEFT = 499  # what is counted for a client that left before its answer, or did not read it
LONGEST_ADDRESS = 8 << 10
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")

HEADERS = (
    (
        b"content-security-policy",
        b"default-src 'self'; img-src 'self' data: blob:; frame-ancestors 'none'; base-uri 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


class _RefusedError(Exception):
    """An answer that no route has to give."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Guard:
    """`app` behind the bounds of `settings`."""

    def __init__(
        self, app: App, settings: Settings, metrics: Metrics, *, drain: Callable[[], None] = lambda: None
    ) -> None:
        """`drain` is called when the server is told to stop, before it waits for what runs."""
        self.drain = drain
        self._app = app
        self._settings = settings
        self._metrics = metrics
        self._running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, or the server's start and end."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, send)
        else:  # there are no WebSockets here
            await send({"type": "websocket.close", "code": 1000})

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.monotonic()
        answer = _Answer(send, _request_id(scope), self._settings.write_seconds, self._metrics)
        scope["regard.request_id"] = answer.request_id
        self._running += 1
        try:
            self._check(scope)
            body = await self._body(scope, receive)
            await self._run(scope, body, receive, answer)
        except _RefusedError as refused:
            self._metrics.rejected(str(refused.status))
            await answer.refuse(scope["path"], refused.status, str(refused))
        finally:
            self._running -= 1
            # The template of a route, such as /api/v1/trace/{id}, never what a client wrote.
            route = getattr(scope.get("route"), "path", "other")
            self._metrics.answered(route, answer.status, time.monotonic() - started)

    def _check(self, scope: Scope) -> None:
        """What can be told from the head of a request."""
        if self._running > self._settings.max_requests and scope["path"] not in ALWAYS:
            raise _RefusedError(429, "too many requests at a time; try again in a moment")
        if len(scope.get("raw_path") or scope["path"].encode()) + len(scope["query_string"]) > LONGEST_ADDRESS:
            raise _RefusedError(414, f"the address is longer than {LONGEST_ADDRESS:,} bytes")
        if sum(len(name) + len(value) for name, value in scope["headers"]) > self._settings.max_headers:
            raise _RefusedError(431, f"the headers are longer than {self._settings.max_headers:,} bytes")
        headers = dict(scope["headers"])
        if headers.get(b"content-encoding", b"identity") != b"identity":
            raise _RefusedError(415, "a compressed body is not taken; send it as it is")
        self._check_origin(headers)
        self._check_key(scope["path"], headers)

    def _check_origin(self, headers: dict[bytes, bytes]) -> None:
        host, names = headers.get(b"host", b"").decode("latin-1"), self._settings.names()
        if names is not None and re.sub(r":\d+$", "", host) not in names:
            raise _RefusedError(403, "this server answers under its local names only, such as http://127.0.0.1")
        origin = headers.get(b"origin")
        if origin is not None and origin.decode("latin-1").partition("://")[2] != host:
            raise _RefusedError(403, "a page of another origin may not use this server")

    def _check_key(self, path: str, headers: dict[bytes, bytes]) -> None:
        if self._settings.api_key is None or path in OPEN or path in KEY_IN_BODY:
            return
        if not is_key(bearer(headers.get(b"authorization", b"")), self._settings):
            raise _RefusedError(401, "this server wants a key: send `Authorization: Bearer KEY`")

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        """The whole body, within its bounds."""
        bound = self._settings.max_picture if scope["path"] in PICTURES else self._settings.max_body
        too_large = _RefusedError(413, f"the body is larger than {bound:,} bytes")
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if not declared.isdigit() or int(declared[:20]) > bound:
            raise too_large
        body, until = bytearray(), time.monotonic() + self._settings.body_seconds
        while True:
            try:
                message = await asyncio.wait_for(receive(), until - time.monotonic())
            except TimeoutError:
                raise _RefusedError(408, f"the body took longer than {self._settings.body_seconds:g} s") from None
            if message["type"] == "http.disconnect":
                raise _RefusedError(400, "the body ended before it was whole")
            body += message.get("body", b"")
            if len(body) > bound:
                raise too_large
            if not message.get("more_body", False):
                return bytes(body)

    async def _run(self, scope: Scope, body: bytes, receive: Receive, answer: "_Answer") -> None:
        """The route, until it is done or its client has left."""
        unread = [{"type": "http.request", "body": body, "more_body": False}]
        left = asyncio.Event()

        async def replay() -> Message:
            if unread:
                return unread.pop()
            await left.wait()
            return {"type": "http.disconnect"}

        with holding(Ticket(self._settings.answer_seconds)) as ticket:
            route = asyncio.ensure_future(self._app(scope, replay, answer.send))
            watch = asyncio.ensure_future(_until_left(receive))
            try:
                await asyncio.wait({route, watch}, return_when=asyncio.FIRST_COMPLETED)
                if not route.done() and not answer.is_complete:
                    self._metrics.cancelled()
                    ticket.cancel()
                    left.set()
                    route.cancel()
                await asyncio.gather(route, return_exceptions=answer.is_started or left.is_set())
            finally:
                ticket.cancel()
                for task in (route, watch):
                    task.cancel()
                await asyncio.gather(route, watch, return_exceptions=True)


class _Answer:
    """Passes on what a route sends, with the headers that every answer has, to a client that must read it in time."""

    def __init__(self, send: Send, request_id: str, seconds: float, metrics: Metrics) -> None:
        self._send = send
        self._seconds = seconds
        self._metrics = metrics
        self.request_id = request_id
        self.status = LEFT
        self.is_started = False
        self.is_complete = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.is_started, self.status = True, message["status"]
            given = message.get("headers", [])
            own = [header for header in HEADERS if header[0] not in dict(given)]  # a page may have its own policy
            message = {**message, "headers": [*given, *own, (b"x-request-id", self.request_id.encode())]}
        elif message["type"] == "http.response.body":
            self.is_complete = not message.get("more_body", False)
        try:
            await asyncio.wait_for(self._send(message), self._seconds)
        except TimeoutError:  # the client does not read what it is sent
            self._metrics.cancelled()
            self.status = LEFT
            raise

    async def refuse(self, path: str, status: int, message: str) -> None:
        body = orjson.dumps(error_body(path, status, message, self.request_id))
        headers = {"Content-Type": "application/json", "Content-Length": str(len(body)), "Connection": "close"}
        pairs = [(name.lower().encode(), value.encode()) for name, value in (headers | error_headers(status)).items()]
        with contextlib.suppress(TimeoutError):
            await self.send({"type": "http.response.start", "status": status, "headers": pairs})
            await self.send({"type": "http.response.body", "body": body})


def bearer(header: bytes) -> str:
    """What the header `Authorization` gives for a key; clients send it in UTF-8 or, where that cannot be, Latin-1."""
    given = header.removeprefix(b"Bearer ")
    try:
        return given.decode()
    except UnicodeDecodeError:
        return given.decode("latin-1")


def is_key(given: str, settings: Settings) -> bool:
    """Whether `given` is the server's key, in a time that tells nothing about it; without a key everything is."""
    return settings.api_key is None or hmac.compare_digest(given.encode(), settings.api_key.encode())


async def _until_left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _request_id(scope: Scope) -> str:
    given = dict(scope["headers"]).get(b"x-request-id", b"")
    return given.decode() if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
