"""Serve models over HTTP: LibreTranslate's interface, OpenAI's, and regard's own."""

import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from regard.cli.options import Device, Threads
from regard.errors import UsageError

if TYPE_CHECKING:
    from regard.serve.settings import Settings

EXAMPLES = """
regard serve en-de pronounce scenes                          # the models that come with regard
regard serve runs/small:en-de
regard serve runs/small:en-de runs/back:de-en chat=runs/chat --port 8080
curl -s 127.0.0.1:5000/translate -d q='A man plays guitar.' -d source=en -d target=de
"""

KEY = "REGARD_API_KEY"
Host = Annotated[str, typer.Option("--host", help="Where to listen; the default lets in this machine only.")]
Port = Annotated[int, typer.Option("--port", min=0, max=65535, help="0: any that is free.")]
Insecure = Annotated[bool, typer.Option("--insecure", help="Let other machines in without a key.")]
Folders = Annotated[
    list[str] | None,
    typer.Argument(metavar="[MODEL]...", help="[NAME=]FOLDER[:FROM-TO], such as runs/small:en-de; none: en-de."),
]


def command(
    models: Folders = None,
    host: Host = "127.0.0.1",
    port: Port = 5000,
    insecure: Insecure = False,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Most sentences searched together.")] = 64,
    max_requests: Annotated[int, typer.Option("--max-requests", min=1, help="More at a time are refused (429).")] = 256,
    timeout: Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds that an answer may take.")] = 60.0,
    device: Device = "auto",
    threads: Threads = None,
) -> int:
    """Serve one or several models until Ctrl-C; what is being answered then is finished.

    Sentences of many clients are searched together, and each gets what `regard translate` would print for it. The
    interface is described at /docs, the page that shows attention is at /explorer/. With a key in the environment
    variable REGARD_API_KEY every route but /health asks for it.
    """
    require_serve()
    from regard.serve.settings import Settings

    settings = Settings(
        host=host,
        port=port,
        api_key=os.environ.get(KEY) or None,
        batch_size=batch_size,
        max_requests=max_requests,
        answer_seconds=timeout,
    )
    return serve(models or [], settings, page="/docs", insecure=insecure, device=device, threads=threads)


def require_serve() -> None:
    """Whether the packages of the extra `serve` are there.

    Raises:
        UsageError: one is not.
    """
    missing = [name for name in ("fastapi", "granian", "orjson", "prometheus_client") if find_spec(name) is None]
    if missing:
        raise UsageError(f"serving needs {', '.join(missing)}: pip install 'regard[serve]'")


def serve(
    models: list[str],
    settings: "Settings",
    *,
    page: str,
    insecure: bool,
    device: str,
    threads: int | None,
    open_browser: bool = False,
    pictures: Sequence[Path] = (),
) -> int:
    """Open the models, listen, and say where; the exit code. The explorer page offers the `pictures`.

    Raises:
        DataError: a picture cannot be read.
        UsageError: the address is taken or open to everybody, or a model is named wrongly.
        ModelError: a model cannot be opened.
    """
    from regard.serve.app import open_app
    from regard.serve.models import Place
    from regard.serve.run import run
    from regard.serve.settings import refuse_open_server
    from regard.training.numerics import set_up_inference

    refuse_open_server(settings, insecure=insecure)
    places = [Place.parse(text) for text in models] or [Place.default()]
    sys.stderr.write(f"regard: opening {', '.join(place.name for place in places)}\n")
    app = open_app(places, settings, device=set_up_inference(device, threads=threads), pictures=pictures)

    def started(address: str) -> None:
        sys.stderr.write(f"regard: {address}{page} (Ctrl-C ends)\n")
        sys.stderr.flush()
        if open_browser:
            import webbrowser

            webbrowser.open(address + page)

    return run(app, settings, started=started)
