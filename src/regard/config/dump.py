"""Plain values as YAML 1.2 that `document` reads back unchanged."""

import json
import re
from typing import Any

PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_./+-]*")
# Words that other YAML readers take for something else than text.
AMBIGUOUS = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}


def dump_yaml(values: dict[str, Any]) -> str:
    """`values` as block style YAML, lists of plain values on one line."""
    return "".join(f"{line}\n" for line in _block(values, ""))


def _block(values: dict[str, Any], indent: str) -> list[str]:
    lines: list[str] = []
    for key, value in values.items():
        if isinstance(value, dict) and value:
            lines += [f"{indent}{_flow(key)}:", *_block(value, indent + "  ")]
        else:
            lines.append(f"{indent}{_flow(key)}: {_flow(value)}")
    return lines


def _flow(value: Any) -> str:
    if value is None or isinstance(value, bool | int):
        return json.dumps(value)
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_flow(key)}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_flow, value)) + "]"
    text = str(value)
    if PLAIN.fullmatch(text) and text.lower() not in AMBIGUOUS:
        return text
    return json.dumps(text, ensure_ascii=False)
