"""What a server may be asked to do: where it listens, and the bounds within which anything a client sends stays."""

import ipaddress
from typing import Annotated

from pydantic import Field

from regard.config.base import Config
from regard.errors import UsageError

LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")


class Settings(Config):
    """Bounds of one server. Times are in seconds, sizes in bytes.

    `max_requests` are worked on or wait at a time, more are refused at once (429); `max_queue` sentences may wait for
    the model, `max_texts` may be in one request. Headers must have come after `header_seconds` (or the connection is
    closed), a body after `body_seconds` (408). A request must be answered after `answer_seconds` (504), and who reads
    an answer may keep the server waiting for `write_seconds`. When the server is stopped, what runs may go on for
    `grace_seconds`. With `api_key` every route but those of `regard.serve.guard.OPEN` asks for it.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 5000
    api_key: Annotated[str | None, Field(min_length=1)] = None
    max_requests: Annotated[int, Field(ge=1)] = 256
    max_queue: Annotated[int, Field(ge=1)] = 2048
    max_texts: Annotated[int, Field(ge=1)] = 512
    max_body: Annotated[int, Field(ge=1)] = 2 << 20
    max_picture: Annotated[int, Field(ge=1)] = 16 << 20
    max_headers: Annotated[int, Field(ge=256)] = 16 << 10
    header_seconds: Annotated[float, Field(gt=0)] = 10.0
    body_seconds: Annotated[float, Field(gt=0)] = 10.0
    answer_seconds: Annotated[float, Field(gt=0)] = 60.0
    write_seconds: Annotated[float, Field(gt=0)] = 30.0
    grace_seconds: Annotated[float, Field(ge=0)] = 20.0
    batch_size: Annotated[int, Field(ge=1)] = 64

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the server."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def names(self) -> tuple[str, ...] | None:
        """The values of the header `Host` that are answered; None: all.

        A page elsewhere must not get at a local server by giving its own name the address 127.0.0.1 (DNS rebinding).
        """
        return (*LOCAL_NAMES, self.host) if self.is_local else None


def refuse_open_server(settings: Settings, *, insecure: bool) -> None:
    """A server that others can reach wants a key, unless somebody says that it should not.

    Raises:
        UsageError: it would be open to everybody.
    """
    if not (settings.is_local or settings.api_key or insecure):
        raise UsageError(
            f"--host {settings.host} lets other machines in: say --insecure if everybody may use it; "
            "`regard serve` can ask for a key instead, the environment variable REGARD_API_KEY"
        )
