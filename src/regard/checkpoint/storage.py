"""The few operating system calls by which anything reaches the disk, gathered so that tests can make each one fail."""

import os
import shutil
from pathlib import Path


class Storage:
    """The real file system. A test passes a subclass that fails, dies or forgets at any of these calls."""

    def make_folder(self, path: Path) -> None:
        """Create one folder; its parent must exist."""
        path.mkdir()

    def create(self, path: Path) -> int:
        """Open a new file for writing; the permissions follow the umask. Returns the descriptor."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)

    def write(self, descriptor: int, data: memoryview) -> int:
        """Write some of `data`; returns how many bytes were taken."""
        return os.write(descriptor, data)

    def sync(self, descriptor: int) -> None:
        """Return when the file's content is on the disk."""
        os.fsync(descriptor)

    def close(self, descriptor: int) -> None:
        """Close a file."""
        os.close(descriptor)

    def sync_folder(self, path: Path) -> None:
        """Return when the folder's entries (new names, renames, removals) are on the disk."""
        if os.name == "nt":  # Windows cannot open folders, and writes their entries by itself
            return
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def rename(self, old: Path, new: Path) -> None:
        """Give `old` the name `new` in one step; a file there is replaced."""
        os.replace(old, new)

    def remove(self, path: Path) -> None:
        """Remove a file."""
        path.unlink()

    def remove_folder(self, path: Path) -> None:
        """Remove an empty folder."""
        path.rmdir()

    def free_bytes(self, path: Path) -> int:
        """Bytes that may still be written on the disk of `path`."""
        return shutil.disk_usage(path).free
