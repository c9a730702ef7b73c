"""Settings from the command line: `model.size=256` replaces one value of a recipe."""

import copy
from collections.abc import Iterable
from typing import Any

from regard.config.document import Document, Key, parse_value
from regard.errors import UsageError

COMMAND_LINE = "command line"


def override(document: Document, settings: Iterable[str]) -> Document:
    """A copy of `document` with every `dotted.key=value` of `settings` put in; values are read as YAML.

    Whether a key exists is the business of the schema, which names the nearest ones.

    Raises:
        UsageError: a setting has no `=`, or goes through a value that is no block.
    """
    values = copy.deepcopy(document.values)
    places = dict(document.places)
    for setting in settings:
        name, equals, text = setting.partition("=")
        parts = name.strip().split(".")
        if not equals or not all(parts):
            raise UsageError(f"{COMMAND_LINE}: `{setting}` should be a setting such as `model.size=256`")
        if not text.strip():
            raise UsageError(f"{COMMAND_LINE}: `{setting}` has no value; write `{name}=null` if that is meant")
        _assign(values, parts, _parse(text, setting), setting)
        key: Key = tuple(parts)
        places = {known: place for known, place in places.items() if known[: len(key)] != key}
        for depth in range(1, len(key)):
            places.setdefault(key[:depth], COMMAND_LINE)
        places[key] = COMMAND_LINE
    return Document(document.name, values, places)


def _parse(text: str, setting: str) -> Any:
    try:
        return parse_value(text, f"{COMMAND_LINE}, `{setting}`")
    except UsageError as error:
        if text[0] not in "[{":
            raise
        raise UsageError(f"{error}; in a shell, a setting with spaces goes in quotes") from error


def _assign(values: dict[str, Any], parts: list[str], value: Any, setting: str) -> None:
    block = values
    for depth, part in enumerate(parts[:-1]):
        if block.get(part) is None:
            block[part] = {}
        if not isinstance(block[part], dict):
            path = ".".join(parts[: depth + 1])
            raise UsageError(
                f"{COMMAND_LINE}: `{setting}`: `{path}` is {block[part]!r}, not a block with keys of its own"
            )
        block = block[part]
    block[parts[-1]] = value
