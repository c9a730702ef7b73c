"""May this recipe go on with that run? Every difference is shown; those that change the model are refused."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from regard.errors import UsageError

# The shape of the model, and the meaning of its ids: other weights would be needed.
_FATAL = ("model", "tokenizers", "data.tokenizer", "data.source_tokenizer", "data.target_tokenizer")
# Inside those, what only steers training, or merely names other values (which are compared themselves).
_BENIGN = ("dropout", "sampling", "preset")


class Difference(NamedTuple):
    """One key whose value differs; `fatal` if the run's weights mean nothing under the new value."""

    key: str
    old: Any
    new: Any
    fatal: bool


def compare_recipes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Difference]:
    """Every key, dotted, at which two recipes differ, in order; a key that one lacks counts as None there.

    Add `"tokenizers": {"source": fingerprint, ...}` to both, so that a tokenizer which was learnt anew is noticed.
    """
    before, after = dict(_flat("", old)), dict(_flat("", new))
    keys = sorted({*before, *after})
    return [
        Difference(key, before.get(key), after.get(key), is_fatal(key))
        for key in keys
        if before.get(key) != after.get(key)
    ]


def is_fatal(key: str) -> bool:
    """Whether a run cannot go on when the value of the dotted `key` changes."""
    inside = any(key == prefix or key.startswith(f"{prefix}.") for prefix in _FATAL)
    return inside and not key.endswith(_BENIGN)


def check_resume(differences: Sequence[Difference]) -> None:
    """Accept `differences` if none is fatal.

    Raises:
        UsageError: one is; the message shows a table of all of them.
    """
    if any(difference.fatal for difference in differences):
        raise UsageError(
            "this run was started with another model or tokenizer, so it cannot go on with this recipe; "
            f"start a new run folder, or undo:\n{table([item for item in differences if item.fatal])}"
        )


def table(differences: Sequence[Difference]) -> str:
    """The differences as aligned text: key, value of the run, value asked for."""
    rows = [("key", "run", "recipe"), *((item.key, repr(item.old), repr(item.new)) for item in differences)]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _flat(prefix: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(f"{prefix}.{key}" if prefix else str(key), inner)
    else:
        yield prefix, value
