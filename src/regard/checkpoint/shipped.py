"""The models that come with the package. Their names are understood wherever a model folder is."""

import logging
from functools import cache
from pathlib import Path

from regard.errors import UsageError

FOLDER = Path(__file__).parents[1] / "shipped"
DEFAULT = "en-de"
CONFIG = "config.json"  # what a model folder is known by
EXAMPLES = "examples"
_WARN = logging.getLogger("regard").warning


def names() -> list[str]:
    """What they are called."""
    return sorted(path.parent.name for path in FOLDER.glob(f"*/{CONFIG}"))


def default_model() -> Path:
    """The model that is used where none is named.

    Raises:
        UsageError: this installation brings none.
    """
    if DEFAULT not in names():
        raise UsageError("name a model folder with -m; this installation brings no model of its own")
    return FOLDER / DEFAULT


def resolve(path: Path) -> Path:
    """The folder that `path` means: itself if it is there, or else the model of the package that has this name."""
    name = str(path)
    if name not in names():
        return path
    if path.exists():
        _tell(name)
        return path
    return FOLDER / name


def examples(folder: Path) -> list[Path]:
    """The pictures that a model folder brings along to be tried with, in the order of their names."""
    return sorted((folder / EXAMPLES).glob("*.png"))


@cache
def _tell(name: str) -> None:
    """Once: not every file that looks for the model shall say so."""
    _WARN(f"{name}: the folder of that name here, not the model that comes with regard (that is {FOLDER / name})")
