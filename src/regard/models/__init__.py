"""The systems, one chapter each: `kind: transformer` in a recipe is the module `models/transformer.py`."""

import difflib
import importlib
import pkgutil
from types import ModuleType
from typing import get_args

from regard.errors import UsageError


def kinds() -> list[str]:
    """Every `kind` there is: the modules of this package are the registry."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))


def family(kind: str) -> ModuleType:
    """The module of a kind of model, with its `Config` and `build`.

    Raises:
        UsageError: no such module in this package; nothing else is ever imported.
    """
    known = kinds()
    if kind not in known:
        near = difflib.get_close_matches(kind, known, n=1)
        advice = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(known)}"
        raise UsageError(f"there is no model of kind {kind!r}; {advice}")
    return importlib.import_module(f"{__name__}.{kind}")


def presets(kind: str) -> tuple[str | None, ...]:
    """The values of the setting `preset` of a kind; (None,) where it has no such setting."""
    field = family(kind).Config.model_fields.get("preset")
    return (None,) if field is None else get_args(field.annotation)


def reads_pictures(kind: str) -> bool:
    """Whether the sources of a kind are pictures, and `Dimensions.source` their channels; its module says so."""
    return getattr(family(kind), "READS_PICTURES", False) is True


def describe(kind: str) -> str:
    """The first line of the chapter: what the model is, and in brackets the paper that it is from."""
    return (family(kind).__doc__ or "").partition("\n")[0]
