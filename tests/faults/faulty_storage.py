"""File systems that fail on purpose: one dies, one returns errors, one forgets what was never flushed."""

import errno
import os
import random
from collections.abc import Callable
from pathlib import Path

from regard.checkpoint.storage import Storage


class Killed(BaseException):
    """The process died here: no handler may turn it into anything else."""


class WatchedStorage(Storage):
    """Counts every call in `operations` and lets a subclass interfere in `before`; flushes nothing, so it is fast."""

    def __init__(self) -> None:
        self.operations: list[str] = []
        self.paths: dict[int, Path] = {}

    def before(self, operation: str, path: Path) -> None:
        self.operations.append(f"{operation} {path.name}")

    def make_folder(self, path: Path) -> None:
        self.before("make_folder", path)
        super().make_folder(path)

    def create(self, path: Path) -> int:
        self.before("create", path)
        descriptor = super().create(path)
        self.paths[descriptor] = path
        return descriptor

    def write(self, descriptor: int, data: memoryview) -> int:
        self.before("write", self.paths[descriptor])
        return super().write(descriptor, data)

    def sync(self, descriptor: int) -> None:
        self.before("sync", self.paths[descriptor])

    def sync_folder(self, path: Path) -> None:
        self.before("sync_folder", path)

    def rename(self, old: Path, new: Path) -> None:
        self.before("rename", old)
        super().rename(old, new)

    def remove(self, path: Path) -> None:
        self.before("remove", path)
        super().remove(path)

    def remove_folder(self, path: Path) -> None:
        self.before("remove_folder", path)
        super().remove_folder(path)


class KillingStorage(WatchedStorage):
    """Dies at operation number `at`, a write in its middle; a dead process does nothing any more."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.at = at

    def before(self, operation: str, path: Path) -> None:
        super().before(operation, path)
        if len(self.operations) > self.at:
            raise Killed(self.operations[self.at])

    def write(self, descriptor: int, data: memoryview) -> int:
        if len(self.operations) == self.at:
            os.write(descriptor, data[: len(data) // 2])
        return super().write(descriptor, data)


class FailingStorage(WatchedStorage):
    """Returns the error `code` at operation number `at`; only there (`once`), or at every write from there on."""

    def __init__(self, at: int, code: int = errno.EIO, *, once: bool = True) -> None:
        super().__init__()
        self.at, self.code, self.once = at, code, once

    def before(self, operation: str, path: Path) -> None:
        super().before(operation, path)
        number = len(self.operations) - 1
        writes = operation in ("make_folder", "create", "write", "sync")
        if number == self.at or (number > self.at and writes and not self.once):
            raise OSError(self.code, os.strerror(self.code))


class _File:
    def __init__(self) -> None:
        self.now, self.durable = b"", b""


class _Folder:
    def __init__(self) -> None:
        self.now: dict[str, _File | _Folder] = {}
        self.durable: dict[str, _File | _Folder] = {}


Image = dict[str, bytes | None]  # path to content; None is a folder


class ForgettingStorage(WatchedStorage):
    """Keeps, after each operation, what a power cut at that moment could leave of everything below `root`.

    `moments` holds pairs of the note that was current (`self.note`) and one possible disk. Data lives through a cut
    if its file was flushed, a name if its folder was. What was not flushed may be there or not, piece by piece:
    possible disks are all lost, names kept without their data, everything kept, and three random mixtures.
    """

    def __init__(self, root: Path) -> None:
        super().__init__()
        self.root, self.top = root, _Folder()
        self.note = 0
        self.moments: list[tuple[int, Image]] = []

    def _node(self, path: Path) -> _File | _Folder:
        node: _File | _Folder = self.top
        for part in path.relative_to(self.root).parts:
            assert isinstance(node, _Folder)
            node = node.now[part]
        return node

    def _parent(self, path: Path) -> _Folder:
        node = self._node(path.parent)
        assert isinstance(node, _Folder)
        return node

    def _cut(self) -> None:
        generators = [random.Random(f"{len(self.operations)} {seed}") for seed in range(3)]
        lost: Callable[[str], bool] = lambda what: False  # noqa: E731
        names: Callable[[str], bool] = lambda what: what == "name"  # noqa: E731
        kept: Callable[[str], bool] = lambda what: True  # noqa: E731
        mixtures = [lambda what, g=generator: g.random() < 0.5 for generator in generators]
        for survives in (lost, names, kept, *mixtures):
            image: Image = {}
            _survivors(self.top, "", image, survives)
            self.moments.append((self.note, image))

    def make_folder(self, path: Path) -> None:
        super().make_folder(path)
        self._parent(path).now[path.name] = _Folder()
        self._cut()

    def create(self, path: Path) -> int:
        descriptor = super().create(path)
        self._parent(path).now[path.name] = _File()
        self._cut()
        return descriptor

    def write(self, descriptor: int, data: memoryview) -> int:
        count = super().write(descriptor, data)
        self._file(descriptor).now += bytes(data[:count])
        self._cut()
        return count

    def _file(self, descriptor: int) -> _File:
        node = self._node(self.paths[descriptor])
        assert isinstance(node, _File)
        return node

    def sync(self, descriptor: int) -> None:
        super().sync(descriptor)
        file = self._file(descriptor)
        file.durable = file.now
        self._cut()

    def sync_folder(self, path: Path) -> None:
        super().sync_folder(path)
        node = self._node(path)
        assert isinstance(node, _Folder)
        node.durable = dict(node.now)
        self._cut()

    def rename(self, old: Path, new: Path) -> None:
        super().rename(old, new)
        self._parent(new).now[new.name] = self._parent(old).now.pop(old.name)
        self._cut()

    def remove(self, path: Path) -> None:
        super().remove(path)
        del self._parent(path).now[path.name]
        self._cut()

    def remove_folder(self, path: Path) -> None:
        super().remove_folder(path)
        del self._parent(path).now[path.name]
        self._cut()


def _survivors(folder: _Folder, prefix: str, image: Image, survives: Callable[[str], bool]) -> None:
    for name in sorted({*folder.now, *folder.durable}):
        node = (folder.now if survives("name") else folder.durable).get(name)
        if isinstance(node, _File):
            # Not flushed: all of it, or the half that happened to be written.
            image[prefix + name] = node.now if survives("data") else node.durable or node.now[: len(node.now) // 2]
        elif isinstance(node, _Folder):
            image[prefix + name] = None
            _survivors(node, f"{prefix}{name}/", image, survives)


def lay_out(image: Image, root: Path) -> None:
    """Make the disk `image` real below `root`."""
    root.mkdir()
    for name, content in image.items():
        if content is None:
            (root / name).mkdir()
        else:
            (root / name).write_bytes(content)
