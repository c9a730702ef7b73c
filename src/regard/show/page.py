"""The page: one HTML file that fetches nothing. With a trace in it it needs no server; a server gives it out empty."""

import base64
import hashlib
import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

# Vendored as published; docs/dependencies.md says from where. All other modules are called as their files.
RUNTIME = {"preact": "preact", "preact/hooks": "hooks", "htm": "htm"}
START = 'import "main";'
FOLDER = files("regard.show") / "explorer"


def _modules() -> str:
    """The import map: every module by the name under which it is imported, as an address that holds it."""
    own = {entry.name.removesuffix(".js"): entry for entry in FOLDER.iterdir() if entry.name.endswith(".js")}
    runtime = {name: FOLDER / "vendor" / f"{file}.js" for name, file in RUNTIME.items()}
    addresses = {
        name: "data:text/javascript;base64," + base64.b64encode(entry.read_bytes()).decode("ascii")
        for name, entry in sorted((own | runtime).items())
    }
    return json.dumps({"imports": addresses})


MODULES = _modules()
STYLE = (FOLDER / "page.css").read_text(encoding="utf-8")


def policy(connect: str) -> str:
    """What the page may do: run these very scripts with this very style, and ask `connect` for data."""
    style, *scripts = (f"'sha256-{_hash(text)}'" for text in (STYLE, MODULES, START))
    return (
        f"default-src 'none'; style-src {style}; script-src {' '.join(scripts)} data:; img-src data:; "
        f"connect-src {connect}; base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


SERVED_POLICY = policy("'self'") + "; frame-ancestors 'none'"


def page(trace: Mapping[str, Any] | None = None, *, served: bool = False) -> str:
    """The whole page as text, with `trace` (`regard.show.document`) in it; `served` by a server, it asks that for more.

    Whatever the words are, they stay words: they are data, never mark-up.
    """
    text = (FOLDER / "page.html").read_text(encoding="utf-8")
    parts = {
        "/*SERVER*/": "true" if served else "false",
        "/*POLICY*/": policy("'self'" if served else "'none'"),
        "/*STYLE*/": STYLE,
        "/*MODULES*/": MODULES,
        "/*START*/": START,
        "/*TRACE*/": "" if trace is None else as_data(trace),  # last, so that no word can hit a mark
    }
    for mark, part in parts.items():
        text = text.replace(mark, part, 1)
    return text


def as_data(trace: Mapping[str, Any]) -> str:
    """JSON for the inside of a script element: "<" is escaped, so that no sentence can end it."""
    return json.dumps(trace, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")
