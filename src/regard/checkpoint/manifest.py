"""`manifest.json`: what a folder must hold, to the byte.

One flipped bit in a tensor file loads without a murmur in every format there is (299 of 300 flips in a `.pt`, 300 of
300 in safetensors), so nothing is used before its SHA-256 has been compared.
"""

import hashlib
import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from regard.errors import ModelError

MANIFEST = "manifest.json"
FORMAT = 1
_SIZE_CAP = 1 << 20  # a manifest lists a dozen files; a larger one is not ours
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")


class Entry(NamedTuple):
    """One file of a folder: its length in bytes, and the SHA-256 of its content in hexadecimal."""

    size: int
    sha256: str


def check_file_name(name: str) -> None:
    """Accept a plain file name.

    Raises:
        ValueError: a path, a hidden file, or a name that some file system refuses.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not a plain file name")


def manifest_text(entries: Mapping[str, Entry]) -> bytes:
    """What `manifest.json` says."""
    files = {name: {"bytes": entry.size, "sha256": entry.sha256} for name, entry in sorted(entries.items())}
    return (json.dumps({"format": FORMAT, "files": files}, indent=1) + "\n").encode()


def read_manifest(folder: Path) -> dict[str, Entry]:
    """Read `manifest.json` of `folder`.

    Raises:
        ModelError: it is missing, damaged, or of a later version.
    """
    path = folder / MANIFEST
    if path.is_symlink() or not path.is_file():
        raise ModelError(f"{folder}: no {MANIFEST}, so this is not a complete folder written by regard")
    if path.stat().st_size > _SIZE_CAP:
        raise ModelError(f"{path}: larger than any manifest")
    try:
        document = json.loads(path.read_bytes())
        return _entries(path, document)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ModelError(f"{path}: damaged ({type(error).__name__}: {error}); restore the folder from a copy") from None
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from None


def _entries(path: Path, document: Any) -> dict[str, Entry]:
    if document["format"] != FORMAT:
        raise ModelError(f"{path}: format {document['format']!r}, but this version of regard reads format {FORMAT}")
    if set(document) != {"format", "files"}:
        raise ValueError(f"unknown keys {sorted(set(document) - {'format', 'files'})}")
    entries = {}
    for name, value in document["files"].items():
        check_file_name(name)
        if set(value) != {"bytes", "sha256"} or type(value["bytes"]) is not int or type(value["sha256"]) is not str:
            raise ValueError(f"the entry of {name} is not understood")
        entries[name] = Entry(value["bytes"], value["sha256"])
    return entries


def read_verified(folder: Path, name: str, entries: Mapping[str, Entry]) -> bytes:
    """Read the file `name` of `folder` once, and return its bytes only if they are those the manifest promises.

    Raises:
        ModelError: the file is missing, unlisted, a link, of another length or of another content.
    """
    path = folder / name
    if name not in entries:
        raise ModelError(f"{folder}: {name} is not listed in {MANIFEST}")
    entry = entries[name]
    if path.is_symlink() or not path.is_file():
        raise ModelError(f"{path}: missing, although {MANIFEST} lists it; restore the folder from a copy")
    try:
        _check_size(path, path.stat().st_size, entry)
        with path.open("rb") as file:
            content = file.read(entry.size)
            _check_size(path, len(content) + len(file.read(1)), entry)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from None
    if hashlib.sha256(content).hexdigest() != entry.sha256:
        raise ModelError(f"{path}: its SHA-256 is not the one in {MANIFEST}: the file is damaged or was changed")
    return content


def _check_size(path: Path, size: int, entry: Entry) -> None:
    if size != entry.size:
        raise ModelError(f"{path}: {size:,} bytes, but {MANIFEST} says {entry.size:,}: cut off or changed")


def verify(folder: Path, *, ignore: Collection[str] = ()) -> dict[str, Entry]:
    """Check every file of `folder` against its manifest, and that there is no other file.

    Names in `ignore`, and hidden files, may differ, be missing or be unlisted (a user may edit a README).

    Raises:
        ModelError: anything is missing, damaged, added or renamed.
    """
    entries = read_manifest(folder)
    refuse_unlisted(folder, entries, ignore=ignore)
    for name in entries:
        if name not in ignore:
            _verify_file(folder, name, entries[name])
    return entries


def refuse_unlisted(folder: Path, entries: Mapping[str, Entry], *, ignore: Collection[str] = ()) -> None:
    """Accept `folder` if it holds no file that its manifest does not list.

    Raises:
        ModelError: there is one.
    """
    for path in sorted(folder.iterdir()):
        known = path.name in entries or path.name in ignore or path.name == MANIFEST
        if not known and not path.name.startswith("."):
            raise ModelError(f"{path}: not listed in {MANIFEST}; move it elsewhere")


def _verify_file(folder: Path, name: str, entry: Entry) -> None:
    path = folder / name
    if path.is_symlink() or not path.is_file():
        raise ModelError(f"{path}: missing, although {MANIFEST} lists it")
    try:
        _check_size(path, path.stat().st_size, entry)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from None
    if digest != entry.sha256:
        raise ModelError(f"{path}: its SHA-256 is not the one in {MANIFEST}: the file is damaged or was changed")
