"""What pydantic found wrong, as sentences that say where it stands and what would be right."""

import difflib
import types
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from regard.config.base import Config
from regard.config.document import Document, Key
from regard.config.kind import Kind

# Where pydantic speaks of Python or JSON, and a recipe is neither.
PLAINER = {
    "model_type": "should be a block with keys of its own",
    "model_attributes_type": "should be a block with keys of its own",
    "dict_type": "should be a block with keys of its own",
    "list_type": "should be a list, such as [one, two]",
    "tuple_type": "should be a list, such as [one, two]",
    "bool_type": "should be true or false",
    "string_type": "should be text",
    "int_type": "should be a whole number",
    "int_from_float": "should be a whole number",
    "float_type": "should be a number",
    "path_type": "should be a path",
    "none_required": "should be null",
}


def explain(config_class: type[Config], document: Document, error: ValidationError) -> list[str]:
    """One line for every mistake, `file:line: key: what; did you mean ...?`, in the order of the file."""
    mistakes: dict[str, tuple[int, int]] = {}
    for position, detail in enumerate(error.errors(include_url=False, include_input=True)):
        key = _key(detail["loc"], document.values)
        sentence = _sentence(config_class, document, key, detail)
        place = document.place(key or _named(sentence))
        line = place.rpartition(":")[2]
        mistakes.setdefault(f"{place}: {sentence}", (_number(line), position))
    return sorted(mistakes, key=lambda mistake: mistakes[mistake])


def nearest(word: str, known: list[str]) -> str:
    """`; did you mean ...?` where something near is known, else a list of what there is."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    close = close or [name for name in known if name.casefold() == word.casefold()]
    if close:
        return f"; did you mean `{close[0]}`?"
    return f"; known are {', '.join(known)}" if known else ""


def _number(line: str) -> int:
    return int(line) if line.isdigit() else 10**9  # the command line comes last


def _key(location: tuple[int | str, ...], values: Any) -> Key:
    """The keys of `location` without what pydantic puts between them (the names of a union's members)."""
    key: list[int | str] = []
    for position, part in enumerate(location):
        last = position == len(location) - 1
        if isinstance(values, dict) and (part in values or last):
            key.append(part)
            values = values.get(part)
        elif isinstance(values, list) and isinstance(part, int) and part < len(values):
            key.append(part)
            values = values[part]
    return tuple(key)


def _named(sentence: str) -> Key:
    """The key that a mistake of the whole begins with, such as `training.average`: there it stands."""
    return tuple(sentence.partition(" ")[0].split("."))


def _sentence(config_class: type[Config], document: Document, key: Key, detail: ErrorDetails) -> str:
    path = ".".join(map(str, key))
    kind, value = detail["type"], detail.get("input")
    context = detail.get("ctx") or {}
    if kind == "extra_forbidden":
        known = _names(config_class, document.values, key[:-1])
        deeper = _deeper(config_class, document.values, key[:-1], known, str(key[-1]))
        return f"unknown key `{path}`{deeper or nearest(str(key[-1]), known)}"
    if kind == "missing":
        position = detail["loc"][-1]
        return f"`{path}` needs an item more" if isinstance(position, int) else f"`{path}` is required"
    if kind in ("union_tag_invalid", "literal_error", "enum"):
        return f"`{path}` {_choice(detail, key, value)}"
    if kind == "union_tag_not_found":
        return f"`{path}.kind` is required beside {_show(value)}"
    if kind == "value_error":
        what = str(context.get("error", detail["msg"]))
        return f"`{path}`: {what}" if path else what
    if kind == "kind":
        return f"`{path}`: {detail['msg']}"
    what = PLAINER.get(kind, detail["msg"][0].lower() + detail["msg"][1:])
    return f"`{path}`: {what}, but it is {_show(value)}{_hint(kind, value)}"


def _choice(detail: ErrorDetails, key: Key, value: Any) -> str:
    context = detail.get("ctx") or {}
    expected = str(context.get("expected") or context.get("expected_tags") or "")
    chosen = context.get("tag", value)
    known = [word.strip(" '") for word in expected.replace(" or ", ", ").split(",")]
    near = nearest(str(chosen), known)
    return f"should be {expected}, but it is {_show(chosen)}{near if 'did you mean' in near else ''}"


def _hint(kind: str, value: Any) -> str:
    if kind == "string_type" and isinstance(value, int | float):
        return "; write it in quotes if it is meant as text"
    if kind in ("int_type", "float_type", "int_parsing", "float_parsing") and isinstance(value, str):
        return "; write it without quotes" if value.replace(".", "", 1).replace("e-", "", 1).isdigit() else ""
    return ""


def _show(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _names(config_class: type[Config], values: Any, key: Key) -> list[str]:
    """The keys that the block at `key` knows."""
    classes = [config_class]
    for part in key:
        if isinstance(part, int):
            values = values[part]
            continue
        values = values.get(part) if isinstance(values, dict) else None
        fields = [block.model_fields[part] for block in classes if part in block.model_fields]
        classes = [
            member
            for field in fields
            for member in _classes(
                Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation, values
            )
        ]
    return sorted({name for block in classes for name in block.model_fields})


def _deeper(config_class: type[Config], values: Any, key: Key, known: list[str], word: str) -> str:
    """`; did you mean ...?` where a block within the block at `key` has a key of this very name."""
    for block in known:
        if word in _names(config_class, values, (*key, block)):
            return f"; did you mean `{'.'.join(map(str, (*key, block, word)))}`?"
    return ""


def _classes(annotation: Any, block: Any) -> Iterator[type[Config]]:
    """The config classes that `annotation` allows for `block`; by its `kind` where it has one."""
    origin = get_origin(annotation)
    if origin is Annotated:
        inner, *metadata = get_args(annotation)
        chosen = [found for item in metadata if isinstance(item, Kind) and (found := item.of(block))]
        yield from chosen or _classes(inner, block)
    elif origin in (Union, types.UnionType, list, tuple, dict):
        for member in get_args(annotation):
            yield from _classes(member, block)
    elif isinstance(annotation, type) and issubclass(annotation, Config) and _fits(annotation, block):
        yield annotation


def _fits(config_class: type[Config], block: Any) -> bool:
    field = config_class.model_fields.get("kind")
    named = block.get("kind") if isinstance(block, dict) else None
    if field is None or named is None or get_origin(field.annotation) is not Literal:
        return True
    return named in get_args(field.annotation)
