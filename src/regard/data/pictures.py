"""Where the pictures of a corpus lie: in a folder that nothing leads out of, or together in one IDX file."""

import hashlib
import struct
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import zstandard
from numpy.typing import NDArray

from regard.data.files import appearing, open_bytes, read_error, writing
from regard.data.picture_file import MAX_PIXELS, Picture, read_picture
from regard.errors import DataError

_IDX_BYTES = 8  # the code of unsigned bytes, the only numbers that MNIST and its kin hold
_MOST_IDX_BYTES = 8 * 2**30


class Pictures(ABC):
    """Pixels by name; the names are the sources of a corpus."""

    @abstractmethod
    def read(self, name: str, *, channels: int, wanted: tuple[int, int] | None = None) -> Picture:
        """One picture; see `read_picture`.

        Raises:
            DataError: there is none of that name, or it cannot be read.
        """

    @abstractmethod
    def has(self, name: str) -> bool:
        """Whether there is a picture of that name, read or not."""

    @abstractmethod
    def digest(self, names: Iterable[str]) -> str:
        """SHA-256 over the bytes of these pictures; one that cannot be read counts as missing."""

    @abstractmethod
    def location(self, name: str) -> str:
        """Where a picture lies; for messages."""


class PictureFolder(Pictures):
    """Files under `root`. A name that leads out of it, by `..`, by a link or as an absolute path, is refused."""

    def __init__(self, root: Path) -> None:
        """Look for nothing but the folder.

        Raises:
            DataError: `root` is no folder.
        """
        if not root.is_dir():
            raise DataError(f"{root}: there is no such folder of pictures; set `data.picture.root`, or --images")
        self.root = root
        self._resolved = root.resolve()

    def read(self, name: str, *, channels: int, wanted: tuple[int, int] | None = None) -> Picture:
        """The picture in the file `name`."""
        return read_picture(self.path(name), channels=channels, wanted=wanted)

    def path(self, name: str) -> Path:
        """The file.

        Raises:
            DataError: the name is none, or leads out of the folder.
        """
        path = self.root / name
        try:
            inside = path.resolve().is_relative_to(self._resolved)
        except (OSError, ValueError, RuntimeError) as error:  # a NUL, or links in a circle
            raise DataError(f"{str(path)!r} is not the name of a picture: {error}") from error
        if not inside or not name:
            raise DataError(
                f"the picture {name!r} does not lie in {self.root}; put it there, or set the root to above it"
            )
        return path

    def has(self, name: str) -> bool:
        """Whether a file of that name lies in the folder."""
        try:
            return self.path(name).exists()
        except (DataError, OSError):
            return False

    def digest(self, names: Iterable[str]) -> str:
        """SHA-256 over names and bytes, each file once."""
        total = hashlib.sha256()
        for name in dict.fromkeys(names):
            try:
                with open(self.path(name), "rb") as file:
                    content = hashlib.file_digest(file, "sha256").digest()
            except (DataError, OSError):
                content = b"missing"
            total.update(name.encode("utf-8", "surrogatepass") + b"\0" + content)
        return total.hexdigest()

    def location(self, name: str) -> str:
        """The path."""
        return str(self.root / name)


class IdxPictures(Pictures):
    """Grey pictures of one size in an IDX file; their names are their numbers from 0."""

    def __init__(self, path: Path) -> None:
        """Read the whole file.

        Raises:
            DataError: it is none, or damaged.
        """
        self.path = path
        self.pixels = read_idx(path, num_axes=3)

    def read(self, name: str, *, channels: int, wanted: tuple[int, int] | None = None) -> Picture:
        """Picture number `name`."""
        try:
            pixels = self.pixels[int(name)]
        except (ValueError, IndexError):
            raise DataError(f"{self.path} has no picture {name!r}, only 0 to {len(self.pixels) - 1}") from None
        return Picture(np.repeat(pixels[..., None], channels, axis=-1))

    def has(self, name: str) -> bool:
        """Whether it is the number of a picture."""
        return name.isdecimal() and int(name) < len(self.pixels)

    def digest(self, names: Iterable[str]) -> str:
        """SHA-256 over all pixels, whichever are named."""
        return hashlib.sha256(repr(self.pixels.shape).encode() + np.ascontiguousarray(self.pixels).data).hexdigest()

    def location(self, name: str) -> str:
        """The file and the number."""
        return f"{self.path}: picture {name}"


def is_idx(path: Path) -> bool:
    """Whether the name of a file says that it is of the IDX format, as MNIST's do."""
    return any(part.startswith(("idx", "ubyte")) for part in path.name.replace("-", ".").split("."))


def read_idx(path: Path, *, num_axes: int) -> NDArray[np.uint8]:
    """An array of bytes from an IDX file, which may be compressed.

    Raises:
        DataError: it is no IDX file of bytes with `num_axes` axes, or shorter or longer than its header says.
    """
    try:
        with open_bytes(path, is_text=False) as file:
            head = file.read(4)
            if len(head) < 4 or head[:2] != b"\0\0" or head[2] != _IDX_BYTES or head[3] != num_axes:
                raise DataError(f"{path}: not an IDX file of bytes with {num_axes} axis/axes, by its first four bytes")
            shape = struct.unpack(f">{num_axes}I", file.read(4 * num_axes).ljust(4 * num_axes, b"\0"))
            size = int(np.prod(shape, dtype=object))
            if size > _MOST_IDX_BYTES or (num_axes == 3 and shape[1] * shape[2] > MAX_PIXELS):
                raise DataError(f"{path}: its header claims {size:,} bytes; more than is read")
            content = file.read(size)
            if len(content) < size or file.read(1):
                raise DataError(f"{path}: not the {size:,} bytes that its header says; copy it again")
    except (OSError, EOFError, zlib.error, zstandard.ZstdError) as error:
        raise read_error(path, error) from error
    return np.frombuffer(content, np.uint8).reshape(shape)


def write_idx(path: Path, array: NDArray[np.uint8]) -> None:
    """Write an array of bytes as an IDX file, which appears whole or not at all.

    Raises:
        UserError: it cannot be written.
    """
    with appearing(path) as place, writing(path):
        head = struct.pack(f">4B{array.ndim}I", 0, 0, _IDX_BYTES, array.ndim, *array.shape)
        place.write_bytes(head + np.ascontiguousarray(array).tobytes())
