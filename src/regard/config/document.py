"""A YAML 1.2 file as plain values, with the line of every key, and with everything surprising refused.

The parser's events are read directly, so that duplicate keys, anchors, tags and absurd sizes are refused before
anything is built, and every value knows where it stands.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceStartEvent,
)

from regard.errors import UsageError

Key = tuple[str | int, ...]

MAX_BYTES = 256 * 1024
MAX_NODES = 10_000
MAX_DEPTH = 50
MAX_DIGITS = 30

# The core schema of YAML 1.2: `no`, `on` and `12:30:45` are text, `1e-4` is a number.
INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
CONSTANTS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf"), float("inf")),
    "-.inf": float("-inf"),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}


@dataclass(frozen=True)
class Document:
    """The values of a file, and for every key path where it was written ("recipe.yaml:7", "command line")."""

    name: str
    values: dict[str, Any]
    places: dict[Key, str] = field(default_factory=dict)

    def place(self, key: Key) -> str:
        """Where `key` was written, or its nearest parent that was."""
        while key and key not in self.places:
            key = key[:-1]
        return self.places.get(key, self.name)


def load_yaml(path: str | Path) -> Document:
    """Read a YAML file whose outermost value is a mapping.

    Raises:
        UsageError: the file cannot be read, is no YAML, or holds what no recipe needs (file:line:column is named).
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror or error}") from error
    except ValueError as error:  # a NUL in the name
        raise UsageError(f"{str(path)!r} is no file name: {error}") from error
    if len(data) > MAX_BYTES:
        raise UsageError(f"{path}:1:1: larger than {MAX_BYTES // 1024} KiB, which no recipe is")
    return parse_yaml(_decode(data, str(path)), str(path))


def parse_yaml(text: str, name: str) -> Document:
    """Read the `text` of a file called `name`; as `load_yaml`."""
    places: dict[Key, str] = {}
    values = _Reader(text, name, places).read()
    if values is None:
        values = {}
    if not isinstance(values, dict):
        raise UsageError(f"{name}:1:1: should be `key: value` lines, but it is {_noun(values)}")
    return Document(name, values, places)


def parse_value(text: str, name: str) -> Any:
    """Read one YAML value, such as the right side of an override. `name` says where it was written."""
    return _Reader(text, name, {}).read()


def _noun(value: object) -> str:
    text = repr(value)
    return "a list" if isinstance(value, list) else f"the single value {text if len(text) <= 80 else text[:77] + '...'}"


def _decode(data: bytes, name: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line, column = _position(data[: error.start].decode("utf-8", "replace"))
        raise UsageError(
            f"{name}:{line}:{column}: not UTF-8 (byte 0x{data[error.start]:02x}); save the file as UTF-8"
        ) from error


def _position(before: str) -> tuple[int, int]:
    return before.count("\n") + 1, len(before) - before.rfind("\n")


class _Reader:
    """Builds values from the parser's events, one call of `_value` a node."""

    def __init__(self, text: str, name: str, places: dict[Key, str]) -> None:
        self.text = text
        self.name = name
        self.places = places
        self.num_nodes = 0

    def read(self) -> Any:
        control = re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", self.text)
        if control:
            line, column = _position(self.text[: control.start()])
            character = f"U+{ord(control[0]):04X}"
            raise UsageError(f"{self.name}:{line}:{column}: control character {character}; remove it")
        events = self._events()
        try:
            return self._documents(events)
        except MarkedYAMLError as error:
            raise UsageError(self._explain(error)) from error
        except YAMLError as error:
            raise UsageError(f"{self.name}:1:1: no YAML: {error}") from error

    def _documents(self, events: Iterator[Event]) -> Any:
        values: list[Any] = []
        for event in events:
            if isinstance(event, DocumentStartEvent):
                if values:
                    self._refuse(event, "a second document begins here (`---`); a recipe is one document")
                values.append(self._value(next(events), events, ()))
        return values[0] if values else None

    def _events(self) -> Iterator[Event]:
        yield from YAML(typ="safe", pure=True).parse(self.text)

    def _value(self, event: Event, events: Iterator[Event], key: Key) -> Any:
        self.num_nodes += 1
        if self.num_nodes > MAX_NODES:
            self._refuse(event, f"more than {MAX_NODES} values, which no recipe has")
        if len(key) > MAX_DEPTH:
            self._refuse(event, f"nested deeper than {MAX_DEPTH} levels, which no recipe is")
        if isinstance(event, AliasEvent):
            self._refuse(
                event, f"the alias `*{event.anchor}`: anchors and aliases are not used in recipes; write it out"
            )
        if isinstance(event, NodeEvent) and event.anchor is not None:
            self._refuse(event, f"the anchor `&{event.anchor}`: anchors are not used in recipes; write the value alone")
        tag = getattr(event, "tag", None)
        if tag is not None:
            self._refuse(event, f"the tag `{tag}`: tags are not used in recipes; write the value alone")
        self.places.setdefault(key, f"{self.name}:{event.start_mark.line + 1}")
        if isinstance(event, MappingStartEvent):
            return self._mapping(events, key)
        if isinstance(event, SequenceStartEvent):
            return self._sequence(events, key)
        assert isinstance(event, ScalarEvent)
        return self._scalar(event)

    def _mapping(self, events: Iterator[Event], key: Key) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        for event in events:
            if isinstance(event, MappingEndEvent):
                break
            if not isinstance(event, ScalarEvent):
                self._refuse(event, "a key should be a word")
            name = str(event.value)
            if name in mapping:
                first = self.places[(*key, name)].rpartition(":")[2]
                self._refuse(event, f"the key `{name}` a second time (first in line {first}); remove one of them")
            self.places[(*key, name)] = f"{self.name}:{event.start_mark.line + 1}"
            mapping[name] = self._value(next(events), events, (*key, name))
        return mapping

    def _sequence(self, events: Iterator[Event], key: Key) -> list[Any]:
        sequence: list[Any] = []
        for event in events:
            if isinstance(event, CollectionEndEvent):
                break
            sequence.append(self._value(event, events, (*key, len(sequence))))
        return sequence

    def _scalar(self, event: ScalarEvent) -> Any:
        text: str = event.value
        if not event.implicit[0]:  # quoted, or a block of text
            return text
        if text in CONSTANTS:
            return CONSTANTS[text]
        if INTEGER.fullmatch(text):
            digits = text.lstrip("+-")
            if len(digits) > MAX_DIGITS:
                self._refuse(event, f"a number of {len(digits)} digits, which no recipe needs")
            if len(digits) > 1 and digits[0] == "0" and digits[1].isdigit():
                plain = text.replace(digits, digits.lstrip("0") or "0")
                self._refuse(event, f"`{text}` is read differently by different programs; write {plain} or '{text}'")
            return int(text, 0)
        return float(text) if FLOAT.fullmatch(text) else text

    def _refuse(self, event: Event, what: str) -> NoReturn:
        mark = event.start_mark
        raise UsageError(f"{self.name}:{mark.line + 1}:{mark.column + 1}: {what}")

    def _explain(self, error: MarkedYAMLError) -> str:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        lines = self.text.splitlines()
        if line <= len(lines) and "\t" in lines[line - 1][:column]:
            column = lines[line - 1].index("\t") + 1
            return f"{self.name}:{line}:{column}: a tab; YAML wants spaces here"
        return f"{self.name}:{line}:{column}: no YAML: {error.problem}"
