"""Publishing: a folder appears complete under its name by one rename, or not at all.

Every file is written aside and flushed to the disk, the manifest last; then one rename publishes the folder, and the
parent is flushed, so that neither a kill nor a power cut after `write_folder` has returned can take it back.
"""

import contextlib
import hashlib
import os
import re
import secrets
import socket
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Protocol, runtime_checkable

from regard.checkpoint.manifest import MANIFEST, Entry, check_file_name, manifest_text
from regard.checkpoint.storage import Storage
from regard.errors import UserError

_LEFTOVER = re.compile(r"\.(?P<kind>old|trash)-[0-9a-f]{8}-(?P<original>.+)|.+\.tmp-.+-\d+-[0-9a-f]{8}")
_CHUNK = 1 << 24  # bytes handed to one write


@runtime_checkable
class Content(Protocol):
    """Something that becomes a file: how many bytes, and the bytes in pieces."""

    @property
    def size(self) -> int:
        """Length of the file in bytes."""
        ...

    def chunks(self) -> Iterator[memoryview]:
        """The bytes of the file, in order."""
        ...


def write_folder(
    final: Path, files: Mapping[str, bytes | Content], *, replace: bool = False, storage: Storage | None = None
) -> None:
    """Publish a folder `final` that holds `files` and their manifest.

    With `replace`, a folder of that name makes way (between two renames; `sweep` heals a kill there).

    Raises:
        UserError: the disk is full, read-only or failing; nothing under `final` has changed then.
        FileExistsError: `final` exists, and is not to be replaced.
    """
    storage = storage or Storage()
    for name in files:
        check_file_name(name)
    if final.exists() and not replace:
        raise FileExistsError(f"{final} exists")
    needed = sum(len(content) if isinstance(content, bytes) else content.size for content in files.values())
    with explained(final, needed, storage):
        _check_space(final, needed, storage)
        temporary = temporary_name(final)
        try:
            _write_aside(temporary, files, storage)
            if final.exists():
                _swap(temporary, final, storage)
            else:
                storage.rename(temporary, final)
        except BaseException:
            _discard(temporary, storage)
            raise
        storage.sync_folder(final.parent)


def _write_aside(folder: Path, files: Mapping[str, bytes | Content], storage: Storage) -> None:
    storage.make_folder(folder)
    entries = {name: _write_file(folder / name, content, storage) for name, content in files.items()}
    _write_file(folder / MANIFEST, manifest_text(entries), storage)
    storage.sync_folder(folder)


def _write_file(path: Path, content: bytes | Content, storage: Storage) -> Entry:
    digest, size = hashlib.sha256(), 0
    descriptor = storage.create(path)
    try:
        for chunk in [memoryview(content)] if isinstance(content, bytes) else content.chunks():
            digest.update(chunk)
            size += len(chunk)
            while len(chunk) > 0:
                chunk = chunk[storage.write(descriptor, chunk[:_CHUNK]) :]
        storage.sync(descriptor)
    finally:
        storage.close(descriptor)
    return Entry(size, digest.hexdigest())


def _swap(temporary: Path, final: Path, storage: Storage) -> None:
    old = _hidden_name("old", final)
    try:
        storage.rename(final, old)
        storage.rename(temporary, final)
    except BaseException:  # a signal too: beside a model folder nobody sweeps
        if not final.exists():
            storage.rename(old, final)
        raise
    storage.sync_folder(final.parent)
    _discard(old, storage)


def write_file(final: Path, content: bytes, *, storage: Storage | None = None) -> None:
    """Write one file, or replace it, by a rename.

    Raises:
        UserError: the disk is full, read-only or failing; the old file is unchanged then.
    """
    storage = storage or Storage()
    with explained(final, len(content), storage):
        temporary = temporary_name(final)
        try:
            _write_file(temporary, content, storage)
            storage.rename(temporary, final)
        except BaseException:
            _discard(temporary, storage)
            raise
        storage.sync_folder(final.parent)


def temporary_name(final: Path) -> Path:
    """A new name beside `final` for what is not complete yet; says who is writing."""
    return final.with_name(f"{final.name}.tmp-{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}")


def _hidden_name(kind: str, final: Path) -> Path:
    return final.with_name(f".{kind}-{secrets.token_hex(4)}-{final.name}")


def remove_published(folder: Path, *, storage: Storage | None = None) -> None:
    """Remove a published folder: renamed first, so that no half of it is ever seen under its name.

    Raises:
        OSError: it cannot be removed (now); what is left has a `.trash-` name, for the next `sweep`.
    """
    storage = storage or Storage()
    trash = _hidden_name("trash", folder)
    storage.rename(folder, trash)
    _remove_tree(trash, storage)


def sweep(parent: Path, *, notify: Callable[[str], None], storage: Storage | None = None) -> None:
    """Clear away what killed writers left in `parent`. Only for the owner of the run's lock.

    A folder that had made way for a new one which never came gets its name back. `notify` hears what cannot be removed.
    """
    storage = storage or Storage()
    for path in sorted(parent.iterdir()):
        leftover = _LEFTOVER.fullmatch(path.name)
        if leftover is None:
            continue
        try:
            if leftover["kind"] == "old" and not (parent / leftover["original"]).exists():
                storage.rename(path, parent / leftover["original"])
            else:
                _remove_tree(path, storage)
        except OSError as error:
            notify(f"{path}: left by a killed process, and cannot be removed: {error.strerror}")


def make_folders(path: Path, *, storage: Storage | None = None) -> None:
    """Make the folder `path` and those above it, where missing, so that a power cut does not lose them.

    Raises:
        UserError: the disk is full, read-only or failing.
    """
    storage = storage or Storage()
    if path.is_dir():
        return
    make_folders(path.parent, storage=storage)
    with explained(path, 0, storage):
        with contextlib.suppress(FileExistsError):  # another process was faster
            storage.make_folder(path)
        storage.sync_folder(path.parent)


def _remove_tree(path: Path, storage: Storage) -> None:
    if path.is_symlink() or not path.is_dir():
        storage.remove(path)
        return
    for child in sorted(path.iterdir()):
        _remove_tree(child, storage)
    storage.remove_folder(path)


def _discard(path: Path, storage: Storage) -> None:
    # The error that brought us here is the one to tell; what cannot be removed now is swept at the next start.
    with contextlib.suppress(OSError):
        _remove_tree(path, storage)


def space_asked_for(needed: int) -> int:
    """Bytes that must be free before so many are written: a fifth more, for others write to this disk, too."""
    return needed + needed // 5


def _check_space(final: Path, needed: int, storage: Storage) -> None:
    free = storage.free_bytes(final.parent)
    if free < space_asked_for(needed):
        raise UserError(_not_written(final, "not enough space on the disk", needed, free))


def _not_written(path: Path, reason: str, needed: int, free: int | None) -> str:
    left = "an unknown number of" if free is None else f"{free:,}"
    space = f" ({needed:,} bytes needed, {left} bytes free)" if needed else ""  # a lock needs none
    return f"{path}: not written: {reason}{space}"


@contextlib.contextmanager
def explained(path: Path, needed: int, storage: Storage) -> Iterator[None]:
    """Turn whatever the operating system says while `path` is written into one sentence.

    Raises:
        UserError: for every OSError.
    """
    try:
        yield
    except OSError as error:
        free = None
        with contextlib.suppress(OSError):
            free = storage.free_bytes(path.parent)
        raise UserError(_not_written(path, error.strerror or str(error), needed, free)) from error
