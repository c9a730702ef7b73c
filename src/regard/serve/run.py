"""Running the application behind granian, in this process, until a signal ends it."""

import asyncio
import logging
import signal
import socket
from collections.abc import Callable

from granian.constants import Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server.embed import Server

from regard.errors import UsageError, UserError
from regard.serve.guard import App
from regard.serve.settings import Settings

HEADER_SECONDS = 10


def run(app: App, settings: Settings, *, started: Callable[[str], None]) -> int:
    """Serve until SIGINT or SIGTERM, then let the requests that run finish; the exit code.

    `started` is called with the address once it is known to be free.

    Raises:
        UsageError: the address cannot be listened at.
    """
    port = _free_port(settings)
    server = Server(
        app,
        address=settings.host,
        port=port,
        interface=Interfaces.ASGI,
        websockets=False,
        http1_settings=HTTP1Settings(header_read_timeout=HEADER_SECONDS * 1000, max_buffer_size=64 << 10),
        log_level=LogLevels.error,
    )
    logging.getLogger("_granian").setLevel(logging.ERROR)
    shown = f"[{settings.host}]" if ":" in settings.host else settings.host
    started(f"http://{shown}:{port}")
    asyncio.run(_serve(server, settings.grace_seconds))
    return 0


async def _serve(server: Server, grace: float) -> None:
    loop, serving = asyncio.get_running_loop(), asyncio.ensure_future(server.serve())
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, server.stop)
    await serving


def _free_port(settings: Settings) -> int:
    """The port to listen at: the one that was asked for, if it is free, or (port 0) one that is."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((settings.host, settings.port))
            return int(probe.getsockname()[1])
    except OSError as error:
        where = f"{settings.host}:{settings.port}"
        raise UsageError(f"cannot listen at {where}: {error.strerror}; name another with --port or --host") from None
    except OverflowError as error:
        raise UserError(str(error)) from None
