"""`regard models --shipped`: the trained models that come with the package."""

import json
import sys
from typing import Any


def print_shipped(*, as_json: bool) -> None:
    """Print for each its name, what it does, how large and how good it is, and whose data it was trained on."""
    found = [_facts(name) for name in _names()]
    if as_json:
        sys.stdout.writelines(json.dumps(facts, ensure_ascii=False) + "\n" for facts in found)
        return
    for facts in found:
        figures = [f"{metric['name']} {metric['value']:.4g} ({metric['data']})" for metric in facts["metrics"]]
        size = f"{facts['bytes'] / 1e6:.1f} MB"
        lines = (facts["title"], "; ".join([size, *figures]), facts["licence"], f"regard explore {facts['name']}")
        sys.stdout.write("\n    ".join((facts["name"], *lines)) + "\n")


def _names() -> list[str]:
    from regard.checkpoint.shipped import names

    return names()


def _facts(name: str) -> dict[str, Any]:
    from regard.checkpoint.model_folder import CONFIG, read_config
    from regard.checkpoint.shipped import FOLDER

    folder = FOLDER / name
    config, _, card = read_config(folder, (folder / CONFIG).read_bytes())
    return {
        "name": name,
        "title": card.title,
        "kind": config.model_dump()["kind"],
        "bytes": sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()),
        "metrics": [metric.model_dump(exclude={"signature"}) for metric in card.metrics],
        "licence": card.licence,
        "folder": str(folder),
    }
