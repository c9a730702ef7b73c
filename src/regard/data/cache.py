"""Folders that are built once and then found again: complete or not there at all."""

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from filelock import FileLock

from regard.errors import DataError, ModelError, UsageError

Opened = TypeVar("Opened")


def open_cached(folder: Path, *, open_folder: Callable[[Path], Opened], build: Callable[[Path], None]) -> Opened:
    """What `open_folder` makes of `folder`; where that is missing or damaged, `build` fills it anew.

    Of several processes that ask at once, one builds and the others wait and find it.

    Raises:
        UsageError: The folder cannot be written.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):
            try:
                return open_folder(folder)
            except (DataError, ModelError):
                shutil.rmtree(folder, ignore_errors=True)
            _publish(folder, build)
            return open_folder(folder)
    except OSError as error:
        raise UsageError(
            f"the cache {folder.parent} cannot be used ({error.strerror or error}); "
            "name another folder as data.cache, or set REGARD_CACHE"
        ) from error


def _publish(folder: Path, build: Callable[[Path], None]) -> None:
    """Build in a folder beside, make it durable, and rename it."""
    # The lock is held: what lies there was left by a process that was killed.
    for stale in folder.parent.glob(f"{folder.name}.building.*"):
        shutil.rmtree(stale, ignore_errors=True)
    building = Path(tempfile.mkdtemp(prefix=f"{folder.name}.building.", dir=folder.parent))
    try:
        build(building)
        for path in (*building.iterdir(), building):
            _sync(path)
        building.rename(folder)
        _sync(folder.parent)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
