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

from regard.errors import UsageError
from regard.serve.guard import App, Guard
from regard.serve.settings import Settings

HEADER_BUFFER = 64 << 10


def run(app: Guard, settings: Settings, *, started: Callable[[str], None]) -> int:
    """Serve until SIGINT or SIGTERM, then let the requests that run finish; the exit code.

    `started` is called with the address once it is listened at.

    Raises:
        UsageError: the address cannot be listened at.
    """
    port = free_port(settings)
    server = make_server(app, settings, port)
    shown = f"[{settings.host}]" if ":" in settings.host else settings.host
    asyncio.run(_until_signal(server, app, lambda: started(f"http://{shown}:{port}"), (settings.host, port)))
    return 0


def make_server(app: App, settings: Settings, port: int) -> Server:
    """Granian with `app`; `await server.serve()` runs it until `server.stop()`."""
    logging.getLogger("_granian").setLevel(logging.ERROR)
    return Server(
        app,
        address=settings.host,
        port=port,
        interface=Interfaces.ASGI,
        websockets=False,
        backlog=1024,
        http1_settings=HTTP1Settings(
            header_read_timeout=round(settings.header_seconds * 1000), max_buffer_size=HEADER_BUFFER
        ),
        log_level=LogLevels.error,
    )


async def _until_signal(server: Server, app: Guard, started: Callable[[], None], address: tuple[str, int]) -> None:
    def stop() -> None:
        app.drain()
        server.stop()  # type: ignore[no-untyped-call]

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    serving = asyncio.ensure_future(server.serve())
    await _listens(serving, address)
    if not serving.done():
        started()
    await serving


async def _listens(serving: "asyncio.Future[None]", address: tuple[str, int]) -> None:
    """Returns when a connection is taken, so that nobody who is told of the address is refused; or at the end."""
    while not serving.done():
        try:
            _, writer = await asyncio.open_connection(*address)
        except OSError:
            await asyncio.sleep(0.01)
        else:
            writer.close()
            return


def free_port(settings: Settings) -> int:
    """The port to listen at: the one that was asked for, if it is free, or (port 0) one that is.

    Raises:
        UsageError: it is taken, may not be used, or the host is none of this machine's.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((settings.host, settings.port))
            return int(probe.getsockname()[1])
    except OSError as error:
        where = f"{settings.host}:{settings.port}"
        raise UsageError(f"cannot listen at {where}: {error.strerror}; name another with --port or --host") from None
