"""A client for `regard serve` that needs nothing but Python: no torch, no packages."""

import base64
import json
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any, cast, overload

from regard.errors import UserError

JSON = "application/json"


class ServerError(UserError):
    """The server refused or failed; `status` is that of HTTP, `request_id` what its log has the reason under."""

    def __init__(self, message: str, *, status: int = 0, request_id: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.request_id = request_id


class Client:
    """Speaks with a server; what is not named here is passed on as it is (see /docs of the server for the fields).

    >>> client = regard.Client("http://127.0.0.1:5000")
    >>> client.translate("A man plays guitar.", n_best=2)["text"]

    It holds no connection, so many threads may use one client.
    """

    def __init__(
        self, address: str = "http://127.0.0.1:5000", *, api_key: str | None = None, timeout: float = 120.0
    ) -> None:
        """`timeout` is how many seconds to wait for the server.

        Raises:
            ValueError: `address` is none of HTTP.
        """
        if not address.startswith(("http://", "https://")):
            raise ValueError(f"{address!r} is no address of a server; it begins with http://")
        self._address = address.rstrip("/")
        self._headers = {"Content-Type": JSON}
        if api_key:  # sent as UTF-8, which http.client is told byte by byte
            self._headers["Authorization"] = f"Bearer {api_key}".encode().decode("latin-1")
        self._timeout = timeout

    def models(self) -> list[dict[str, Any]]:
        """The models of the server: `id`, `source`, `target`.

        Raises:
            ServerError: the server cannot be reached or refuses.
        """
        return cast(list[dict[str, Any]], self._ask("/v1/models", "data"))

    @overload
    def translate(self, text: str, **fields: Any) -> dict[str, Any]: ...
    @overload
    def translate(self, text: Sequence[str], **fields: Any) -> list[dict[str, Any]]: ...
    def translate(self, text: str | Sequence[str], **fields: Any) -> dict[str, Any] | list[dict[str, Any]]:
        """The translation of a text, or those of several: `text`, `score`, `tokens` and what `fields` ask for.

        Raises:
            ServerError: the server cannot be reached or refuses.
        """
        sent = text if isinstance(text, str) else list(text)
        wanted = "translation" if isinstance(text, str) else "translations"
        return cast(dict[str, Any] | list[dict[str, Any]], self._ask("/v1/translate", wanted, {"text": sent, **fields}))

    def stream(self, text: str, **fields: Any) -> Iterator[dict[str, Any]]:
        """A translation while it is being found: each event with its `event` (`token`, `beam`, `done`).

        Raises:
            ServerError: the server cannot be reached, refuses, or fails on the way.
        """
        return self._events("/v1/translate", {"text": text, "stream": True, **fields})

    def pronounce(self, words: Sequence[str], **fields: Any) -> list[dict[str, Any]]:
        """The pronunciation of each word: `phones`, `score`, and with `n_best` `alternatives`.

        Raises:
            ServerError: the server cannot be reached or refuses.
        """
        sent = {"words": list(words), **fields}
        return cast(list[dict[str, Any]], self._ask("/v1/pronounce", "pronunciations", sent))

    def score(self, pairs: Sequence[tuple[str, str]], **fields: Any) -> list[dict[str, Any]]:
        """How probable each second text is as the output for the first.

        Raises:
            ServerError: the server cannot be reached or refuses.
        """
        sent = [list(pair) for pair in pairs]
        return cast(list[dict[str, Any]], self._ask("/v1/score", "scores", {"pairs": sent, **fields}))

    def chat(self, turns: Sequence[str], **fields: Any) -> Iterator[str]:
        """The reply to the last of `turns`, piece by piece.

        Raises:
            ServerError: the server cannot be reached, refuses, or fails on the way.
        """
        for event in self._events("/v1/chat", {"turns": list(turns), "stream": True, **fields}):
            if event["event"] == "token":
                yield event["text"]

    def classify(self, text: str | Sequence[str], **fields: Any) -> list[dict[str, Any]]:
        """The label of each text and how probable it is.

        Raises:
            ServerError: the server cannot be reached or refuses.
        """
        sent = [text] if isinstance(text, str) else list(text)
        return cast(list[dict[str, Any]], self._ask("/v1/classify", "classifications", {"text": sent, **fields}))

    def classify_picture(self, picture: str | Path, **fields: Any) -> dict[str, Any]:
        """The label of the picture in a file and how probable it is.

        Raises:
            ServerError: the server cannot be reached or refuses.
            OSError: the file cannot be read.
        """
        sent = {"picture": _encoded(picture), **fields}
        return cast(dict[str, Any], self._ask("/v1/classify/picture", "classification", sent))

    def caption(self, picture: str | Path, **fields: Any) -> dict[str, Any]:
        """What the picture in a file shows, in words: `text`, `score`, `tokens` and what `fields` ask for.

        Raises:
            ServerError: the server cannot be reached or refuses.
            OSError: the file cannot be read.
        """
        sent = {"picture": _encoded(picture), **fields}
        return cast(dict[str, Any], self._ask("/v1/caption", "caption", sent))

    def _ask(self, path: str, wanted: str, body: dict[str, Any] | None = None) -> Any:
        """The part of the answer that is called `wanted`."""
        with self._open(path, body) as answer, self._reading():
            return json.load(answer)[wanted]

    def _events(self, path: str, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        with self._open(path, body) as answer:
            event = None
            while event is None or event["event"] != "done":
                with self._reading():
                    event = _next_event(answer)
                if event["event"] == "error":
                    raise ServerError(event["error"])
                yield event

    def _open(self, path: str, body: dict[str, Any] | None) -> HTTPResponse:
        data = None if body is None else json.dumps(body).encode()
        try:
            request = urllib.request.Request(self._address + path, data, self._headers)
            return cast(HTTPResponse, urllib.request.urlopen(request, timeout=self._timeout))
        except urllib.error.HTTPError as error:
            with error:
                raise _explained(error) from None
        except OSError as error:
            reason = getattr(error, "reason", error)
            raise ServerError(f"{self._address}: the server cannot be reached: {reason}") from None
        except (HTTPException, ValueError, OverflowError) as error:  # a wrong port, or a server of another kind
            raise ServerError(f"{self._address}: there is no HTTP server: {error}") from None

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """What can go wrong while an answer is read, as errors of the server."""
        try:
            yield
        except (OSError, EOFError, HTTPException) as error:
            raise ServerError(f"{self._address}: the answer broke off: {error}") from None
        except (ValueError, KeyError, TypeError):
            raise ServerError(f"{self._address}: the answer is not one of `regard serve`") from None


def _next_event(answer: HTTPResponse) -> dict[str, Any]:
    """The next server-sent event, by its `event` and the fields of its data."""
    name = ""
    for line in answer:
        field, _, value = line.decode().rstrip("\n").partition(": ")
        if field == "event":
            name = value
        elif field == "data":
            return {"event": name, **json.loads(value)}
    raise EOFError("it has no end")


def _encoded(picture: str | Path) -> str:
    return base64.b64encode(Path(picture).read_bytes()).decode()


def _explained(error: urllib.error.HTTPError) -> ServerError:
    try:
        answer = json.load(error)
        return ServerError(str(answer["error"]), status=error.code, request_id=str(answer.get("request_id", "")))
    except (OSError, HTTPException, ValueError, KeyError, TypeError):  # it is not regard that answers there
        return ServerError(f"the server answered {error.code} {error.reason}", status=error.code)
