"""Sequences of different lengths in two plain .npy files: all values one behind the other, and where each begins."""

import tempfile
import zlib
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regard.errors import DataError

_HEADER_SIZE = 128
_BUFFER_SIZE = 1 << 20


class FlatFile:
    """Sequences, memory-mapped: sequence r is `values[offsets[r] : offsets[r + 1]]`."""

    def __init__(self, values: NDArray[Any], offsets: NDArray[np.int64]) -> None:
        self.values = values
        self.offsets = offsets
        self.lengths: NDArray[np.int64] = np.diff(offsets)

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, row: int) -> NDArray[Any]:
        return self.values[self.offsets[row] : self.offsets[row + 1]]


class FlatWriter:
    """Append sequences to `<name>.npy` and `<name>.offsets.npy` of a folder, in little memory.

    Without a `name` the files have none either: they are gone with the last mapping of them (`map`).
    """

    def __init__(self, folder: Path, name: str | None, dtype: str) -> None:
        with ExitStack() as stack:
            self._values, self._offsets = (
                stack.enter_context(_ArrayWriter(folder, None if name is None else f"{name}{ending}.npy", kind))
                for ending, kind in (("", dtype), (".offsets", "<i8"))
            )
            self._files = stack.pop_all()
        self._offsets.extend(np.zeros(1, "<i8"))

    def append(self, sequence: NDArray[Any]) -> None:
        """Add one sequence."""
        self._values.extend(sequence)
        self._offsets.extend(np.array([self._values.count], "<i8"))

    def finish(self) -> dict[str, list[int]]:
        """Write what is left; for each file its name, size and checksum, which `map_flat` will ask for."""
        return {writer.name: writer.finish() for writer in (self._values, self._offsets)}

    def map(self) -> FlatFile:
        """What was written, after `finish`."""
        return FlatFile(self._values.map(), self._offsets.map())

    def __enter__(self) -> "FlatWriter":
        return self

    def __exit__(self, *raised: object) -> None:
        self._files.close()


class _ArrayWriter:
    """A one-dimensional .npy file that grows; its header is written last."""

    def __init__(self, folder: Path, name: str | None, dtype: str) -> None:
        self.name = name or ""
        self.count = 0
        self._dtype = np.dtype(dtype)
        self._buffer = bytearray()
        self._checksum = 0
        # Closed by __exit__.
        self._file = tempfile.TemporaryFile(dir=folder) if name is None else (folder / name).open("wb")  # noqa: SIM115
        self._file.write(bytes(_HEADER_SIZE))

    def __enter__(self) -> "_ArrayWriter":
        return self

    def __exit__(self, *raised: object) -> None:
        self._file.close()

    def map(self) -> NDArray[Any]:
        if self.count == 0:
            return np.zeros(0, self._dtype)
        return np.memmap(self._file, self._dtype, "r", _HEADER_SIZE, (self.count,)).view(np.ndarray)

    def extend(self, values: NDArray[Any]) -> None:
        self._buffer += values.astype(self._dtype, copy=False).tobytes()
        self.count += len(values)
        if len(self._buffer) > _BUFFER_SIZE:
            self._flush()

    def finish(self) -> list[int]:
        self._flush()
        size = self._file.tell()
        self._file.seek(0)
        self._file.write(self._header())
        self._file.flush()
        return [size, self._checksum]

    def _flush(self) -> None:
        self._checksum = zlib.crc32(self._buffer, self._checksum)
        self._file.write(self._buffer)
        self._buffer.clear()

    def _header(self) -> bytes:
        # Version 1.0 of the .npy format, padded to a fixed size because the shape is known only at the end.
        text = f"{{'descr': '{self._dtype.str}', 'fortran_order': False, 'shape': ({self.count},), }}"
        length = _HEADER_SIZE - 10
        return b"\x93NUMPY\x01\x00" + length.to_bytes(2, "little") + text.ljust(length - 1).encode() + b"\n"


def map_flat(folder: Path, name: str, files: dict[str, list[int]] | None = None) -> FlatFile:
    """Open what a `FlatWriter` wrote; with `files` (from its `close`) compare sizes and checksums first.

    Raises:
        DataError: A file is missing or not what was written.
    """
    values, offsets = (_map_array(folder / f"{name}{ending}.npy", files) for ending in ("", ".offsets"))
    if offsets.dtype != np.int64 or len(offsets) == 0 or offsets[0] != 0 or offsets[-1] != len(values):
        raise DataError(f"{folder / name}.offsets.npy does not fit {name}.npy; delete the folder, it is only a cache")
    return FlatFile(values, offsets)


def _map_array(path: Path, files: dict[str, list[int]] | None) -> NDArray[Any]:
    try:
        # A view of the base class: indexing a numpy.memmap costs microseconds more each time.
        array: NDArray[Any] = np.load(path, mmap_mode="r").view(np.ndarray)
        if files is not None:
            found = [path.stat().st_size, zlib.crc32(array.data)]
            if found != files[path.name]:
                raise DataError(f"{path} is damaged (size and checksum {found}, not {files[path.name]})")
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise DataError(f"{path} is damaged or missing: {error}; delete the folder, it is only a cache") from error
    return array
