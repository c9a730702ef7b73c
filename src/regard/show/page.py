"""The page: one HTML file that fetches nothing. With a trace in it it needs no server; a server gives it out empty."""

import base64
import json
from collections.abc import Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

# Vendored as published; docs/dependencies.md says from where. All other modules are called as their files.
RUNTIME = {"preact": "preact", "preact/hooks": "hooks", "htm": "htm"}


def page(trace: Mapping[str, Any] | None = None, *, served: bool = False) -> str:
    """The whole page as text, with `trace` (`regard.show.document`) in it; `served` by a server, it asks that for more.

    Whatever the words are, they stay words: they are data, never mark-up.
    """
    folder = files("regard.show") / "explorer"
    text = (folder / "page.html").read_text(encoding="utf-8")
    parts = {
        "/*SERVER*/": "true" if served else "false",
        "/*CONNECT*/": "'self'" if served else "'none'",
        "/*STYLE*/": (folder / "page.css").read_text(encoding="utf-8"),
        "/*MODULES*/": json.dumps({"imports": modules(folder)}),
        "/*TRACE*/": "" if trace is None else as_data(trace),  # last, so that no word can hit a mark
    }
    for mark, part in parts.items():
        text = text.replace(mark, part, 1)
    return text


def as_data(trace: Mapping[str, Any]) -> str:
    """JSON for the inside of a script element: "<" is escaped, so that no sentence can end it."""
    return json.dumps(trace, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")


def modules(folder: Traversable) -> dict[str, str]:
    """Every module by the name under which it is imported, as an address that holds it."""
    own = {entry.name.removesuffix(".js"): entry for entry in folder.iterdir() if entry.name.endswith(".js")}
    runtime = {name: folder / "vendor" / f"{file}.js" for name, file in RUNTIME.items()}
    return {
        name: "data:text/javascript;base64," + base64.b64encode(entry.read_bytes()).decode("ascii")
        for name, entry in sorted((own | runtime).items())
    }
