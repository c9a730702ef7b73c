"""One self-contained HTML file for one sentence: opens from disk, fetches nothing, runs nothing but its own script."""

import base64
import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

import numpy as np

from regard.show.sentence import Site


def page(source: str, target: str, sites: Sequence[Site], *, model: str = "", score: str = "") -> str:
    """The whole page as text. Whatever the words are, they stay words: they are data, never mark-up."""
    static = files("regard.show") / "static"
    template = (static / "page.html").read_text(encoding="utf-8")
    parts = {
        "/*STYLE*/": (static / "page.css").read_text(encoding="utf-8"),
        "/*SCRIPT*/": (static / "page.js").read_text(encoding="utf-8"),
        "/*DATA*/": _as_json(source, target, sites, model=model, score=score),  # last, so that no word can hit a mark
    }
    for mark, text in parts.items():
        template = template.replace(mark, text, 1)
    return template


def _as_json(source: str, target: str, sites: Sequence[Site], *, model: str, score: str) -> str:
    document: Mapping[str, Any] = {
        "source": source,
        "target": target,
        "model": model,
        "score": score,
        "pieces": any(len(set(side.words)) < len(side.words) for site in sites for side in (site.queries, site.keys)),
        "sites": [_site(site) for site in sites],
    }
    # "<" is escaped so that "</script>" inside a sentence cannot end the data.
    return json.dumps(document, ensure_ascii=False).replace("<", "\\u003c")


def _site(site: Site) -> dict[str, Any]:
    heads, rows, columns = site.weights.shape
    kind, layer = _place(site.name)
    return {
        "name": site.name,
        "kind": kind,
        "layer": layer,
        "heads": heads,
        "rows": rows,
        "columns": columns,
        "weights": base64.b64encode(np.ascontiguousarray(site.weights, dtype="<f4").tobytes()).decode(),
        "queries": {"pieces": list(site.queries.pieces), "words": list(site.queries.words)},
        "keys": {"pieces": list(site.keys.pieces), "words": list(site.keys.words)},
    }


def _place(name: str) -> tuple[str, int | None]:
    """`decoder.3.cross` is ("cross", 3); self-attention is named after its half of the model."""
    half, *middle, kind = name.split(".")
    layer = int(middle[0]) if middle and middle[0].isdigit() else 0
    return (kind if kind == "cross" else half), layer
