"""See attention in the browser: one local page for one model, or two side by side."""

import sys
from typing import Annotated

import typer

from regard.cli.options import Device, Threads
from regard.cli.serve import Host, Port, require_serve, serve
from regard.errors import UsageError

EXAMPLES = """
regard explore en-de
regard explore pronounce
regard explore scenes
regard explore runs/small
regard explore runs/small runs/lstm
regard explore runs/small --port 8080 --no-browser
"""


def command(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[MODEL] [MODEL2]",
            help="[NAME=]FOLDER[:FROM-TO], or a name of `regard models --shipped`; none: en-de.",
        ),
    ] = None,
    host: Host = "127.0.0.1",
    port: Port = 0,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in a browser.")] = True,
    device: Device = "auto",
    threads: Threads = None,
) -> int:
    """Open a page that shows what a model looks at while it works. It runs on this machine and needs no network."""
    require_serve()
    from regard.serve.settings import Settings

    if len(models or []) > 2:
        raise UsageError(f"{len(models or [])} models; the page shows one, or compares two")
    settings = Settings(host=host, port=port)
    open_browser = browser and sys.stderr.isatty()
    return serve(
        models or [],
        settings,
        page="/explorer/",
        insecure=False,
        device=device,
        threads=threads,
        open_browser=open_browser,
    )
