"""See attention in the browser: one local page for one model, or two side by side."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from regard.cli.options import Device, Threads
from regard.cli.serve import Host, Insecure, Port, require_serve, serve
from regard.errors import UsageError

EXAMPLES = """
regard explore en-de
regard explore pronounce
regard explore scenes
regard explore runs/small
regard explore runs/small runs/lstm
regard explore runs/scenes-soft --picture photos/
regard explore runs/mnist-glimpse --picture t10k-images-idx3-ubyte.gz
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
    pictures: Annotated[
        list[Path] | None,
        typer.Option("--picture", "-i", help="A picture, folder or IDX file to offer on the page; may be repeated."),
    ] = None,
    host: Host = "127.0.0.1",
    port: Port = 0,
    insecure: Insecure = False,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in a browser.")] = True,
    device: Device = "auto",
    threads: Threads = None,
) -> int:
    """Open a page that shows what a model looks at while it works. It runs on this machine and needs no network.

    A model that reads text is given a sentence there, one that reads pictures a picture: from a file, dropped, pasted,
    or one of those named with --picture. No key is asked for: a browser could not send one.
    """
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
        insecure=insecure,
        device=device,
        threads=threads,
        open_browser=open_browser,
        pictures=pictures or (),
    )
