"""Files of bytes: opened with one clear sentence where that fails, decompressed and compressed by their suffix."""

import codecs
import errno
import gzip
import io
import os
import re
import stat
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, cast

import zstandard

from regard.errors import DataError, UsageError, UserError

SUFFIXES = ("", ".gz", ".zst")
"""Endings under which a text file may lie, in the order in which they are looked for."""

_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_HEAD = 4096
_STREAM = re.compile(r"/dev/(stdout|stderr|fd/\d+)|/proc/\w+/fd/\d+")
_NO_TEXT = re.compile(rb"[\x00-\x08]")
_MAGIC = {
    b"PK\x03\x04": "a zip archive: unpack it",
    b"BZh": "compressed with bzip2: unpack it, or compress it with gzip",
    b"\xfd7zXZ\x00": "compressed with xz: unpack it, or compress it with gzip",
    b"%PDF": "a PDF: save its text as UTF-8",
    b"\x89PNG": "a picture: name a text file",
    b"\xff\xd8\xff": "a picture: name a text file",
    b"\x7fELF": "a program: name a text file",
    b"SQLite format 3": "a database: export the text as UTF-8",
    b"PAR1": "a Parquet file: export it as JSONL or TSV",
    b"ARROW1": "an Arrow file: export it as JSONL or TSV",
}


def expanded(path: str | Path) -> Path:
    """The path with a home folder in the place of `~`.

    Raises:
        UsageError: nobody is called so, or this process has no home.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise UsageError(f"{path}: there is no such home folder; write the path in full") from None


def without_compression(path: Path) -> Path:
    """The path less its `.gz` or `.zst`."""
    return path.with_suffix("") if path.suffix in SUFFIXES else path


@contextmanager
def open_bytes(path: Path, *, is_text: bool = True) -> Iterator[BinaryIO]:
    r"""The (decompressed) bytes of a regular file, in which, `is_text` given, b"\n" ends a line.

    Raises:
        DataError: it is no regular file, cannot be opened, or should hold text and plainly is not UTF-8.
    """
    check_file(path)
    with ExitStack() as stack:
        try:
            file = stack.enter_context(open(path, "rb"))
            if is_text:
                _refuse_foreign(path, file.peek(_HEAD)[:_HEAD])
            stream = stack.enter_context(_decompressed(path, file))
            if is_text and path.suffix in (".gz", ".zst"):
                _refuse_foreign(without_compression(path), cast(io.BufferedReader, stream).peek(_HEAD)[:_HEAD])
        except (OSError, EOFError, zlib.error, zstandard.ZstdError) as error:
            raise read_error(path, error) from error
        yield stream


def check_file(path: Path) -> None:
    """Let only a regular file pass: all others cannot be read twice, or never end.

    Raises:
        DataError: it is missing, a folder, a pipe, a device, or cannot be looked at.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        raise read_error(path, error) from error
    if stat.S_ISDIR(mode):
        raise DataError(f"{path} is a folder; name a file in it")
    if stat.S_ISFIFO(mode):
        raise DataError(f"{path} is a pipe, which can be read only once; write its lines to a file and name that")
    if not stat.S_ISREG(mode):
        raise DataError(f"{path} is a device, not a file of text; name a file")


def read_error(path: Path, error: BaseException, *, line: int | None = None) -> DataError:
    """One sentence for what went wrong while `path` was opened or (from `line` on) read."""
    where = f"{path}" if line is None else f"{path}:{line}"
    if isinstance(error, DataError):
        return error
    if isinstance(error, FileNotFoundError):
        return DataError(f"{path}: there is no such file{_neighbours(path)}")
    if isinstance(error, PermissionError):
        return DataError(f"{path}: you may not read it; change its permissions")
    if isinstance(error, EOFError):
        return DataError(f"{where}: the compressed file ends too early; copy or compress it again")
    if isinstance(error, gzip.BadGzipFile | zlib.error | zstandard.ZstdError):
        return DataError(f"{where}: the compressed file is damaged ({error}); copy or compress it again")
    if isinstance(error, OSError):
        return DataError(f"{where}: it cannot be read: {error.strerror or error}")
    if isinstance(error, ValueError):  # a NUL in the name
        return DataError(f"{str(path)!r} is not the name of a file: {error}")
    raise error


class LineWriter:
    """Writes lines to a file that appears under its name, complete, when the `with` block ends well (`appearing`).

    Where it ends otherwise the lines are lost, or, with `keep_part`, are found in `part`, such as output.part.de.
    """

    def __init__(self, path: Path, *, keep_part: bool = False) -> None:
        self.path = path
        self.num_lines = 0
        self.part: Path | None = None  # where the lines are that were written before the block ended badly
        self._keep_part = keep_part
        self._stack = ExitStack()
        self._stream: BinaryIO | None = None

    def __enter__(self) -> "LineWriter":
        with writing(self.path), ExitStack() as stack:
            place = stack.enter_context(appearing(self.path))
            stack.push(partial(self._keep, place))
            # Only a stream is written to under its own name, and what went to it before must stay.
            file = stack.enter_context(open(place, "ab" if place == self.path else "wb"))
            self._stream = stack.enter_context(_compressed(self.path, file))
            self._stack = stack.pop_all()
        return self

    def write(self, line: str) -> None:
        """Write one line.

        Raises:
            ValueError: it holds a line feed.
            UserError: the file cannot be written.
        """
        if "\n" in line:
            raise ValueError("a line cannot hold a line feed")
        assert self._stream is not None, "a LineWriter is used in a `with` block"
        with writing(self.path):
            self._stream.write(line.encode() + b"\n")
        self.num_lines += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with writing(self.path):
            self._stack.__exit__(kind, error, trace)

    def _keep(self, place: Path, kind: type[BaseException] | None, *_: object) -> None:
        """Between the end of the file and the end of its other name."""
        if kind is not None and self._keep_part and self.num_lines and place != self.path:
            self.part = _beside(self.path, "part")
            os.replace(place, self.part)


@contextmanager
def appearing(path: Path) -> Iterator[Path]:
    """Where to write the file `path`: under another name, from which it is renamed when the block ends well.

    A link stays, and what it leads to is replaced. A pipe, a device or an open stream is written to as it is, for a
    file in its place would be a disaster (`-o /dev/null`, `-o /dev/stdout`). A missing folder is made.

    Raises:
        UserError: the file cannot be written, or is a folder.
    """
    with writing(path):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if (path.exists() and not path.is_file()) or _STREAM.fullmatch(str(path)):
            yield path
            return
        final = path.resolve()  # before the block: a link may lead elsewhere after it
        final.parent.mkdir(parents=True, exist_ok=True)
        temporary = _beside(final, f"{os.getpid()}.tmp")
        try:
            yield temporary
            os.replace(temporary, final)
        finally:
            temporary.unlink(missing_ok=True)


def _beside(path: Path, mark: str) -> Path:
    """The file that `path` leads to, under a name with a mark: output.part.de."""
    final = path.resolve()
    return final.with_name(f"{final.stem}.{mark}{final.suffix}")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Around whatever writes the file `path`.

    Raises:
        UserError: for every OSError but a closed pipe.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise UserError(f"{path}: it cannot be written: {error.strerror or error}") from error


class _ZstdStream(io.RawIOBase):
    """Decompressed frames. zstandard's own reader takes a file that was cut short for one that ended."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._frame = zstandard.ZstdDecompressor().decompressobj()
        self._begun = False
        self._input = b""
        self._output = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        while not self._output:
            if not self._input:
                self._input = self._file.read(1 << 16)
            if not self._input:
                if self._begun:
                    raise EOFError
                return 0
            self._output = self._decompress()
        view = memoryview(buffer)  # type: ignore[arg-type]  # any writable buffer
        block, self._output = self._output[: len(view)], self._output[len(view) :]
        view[: len(block)] = block
        return len(block)

    def _decompress(self) -> bytes:
        # A few bytes at a time: zstd may blow one up to ten thousand, and the reader wants little at once.
        block, self._input = self._input[:4096], self._input[4096:]
        output = self._frame.decompress(block)
        self._begun = True
        if self._frame.eof:
            self._input = self._frame.unused_data + self._input
            self._frame = zstandard.ZstdDecompressor().decompressobj()
            self._begun = False
        return output


@contextmanager
def _decompressed(path: Path, file: BinaryIO) -> Iterator[BinaryIO]:
    if path.suffix == ".gz":
        # GzipFile.readline is Python; a BufferedReader around it finds the line ends in C.
        with gzip.GzipFile(fileobj=file, mode="rb") as plain, io.BufferedReader(cast(io.RawIOBase, plain)) as stream:
            yield cast(BinaryIO, stream)
    elif path.suffix == ".zst":
        with io.BufferedReader(_ZstdStream(file)) as stream:
            yield cast(BinaryIO, stream)
    else:
        yield file


@contextmanager
def _compressed(path: Path, file: BinaryIO) -> Iterator[BinaryIO]:
    if path.suffix == ".gz":
        with gzip.GzipFile(filename="", fileobj=file, mode="wb", mtime=0) as stream:  # equal text, equal bytes
            yield cast(BinaryIO, stream)
    elif path.suffix == ".zst":
        with zstandard.ZstdCompressor().stream_writer(file, closefd=False) as stream:
            yield cast(BinaryIO, stream)
    else:
        yield file


def _is_text(head: bytes) -> bool:
    """Whether it is UTF-8, cut within a character perhaps, without the bytes that texts do not have."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return not _NO_TEXT.search(head)


def _refuse_foreign(path: Path, head: bytes) -> None:
    if head.startswith(_GZIP) and path.suffix != ".gz":
        raise DataError(f"{path} is compressed with gzip; rename it to {path.name}.gz")
    if head.startswith(_ZSTD) and path.suffix != ".zst":
        raise DataError(f"{path} is compressed with zstd; rename it to {path.name}.zst")
    if path.suffix in (".gz", ".zst"):
        return
    if encoding := _wide_encoding(head):
        raise DataError(f"{path} is {encoding}; convert it with `iconv -f {encoding} -t UTF-8`")
    for magic, what in _MAGIC.items():
        if head.startswith(magic) and not _is_text(head):  # a text may begin with "PAR1"
            raise DataError(f"{path} is not text but {what}")
    if len(head) >= 64 and sum(byte < 32 and byte not in b"\t\n\r" for byte in head) > 0.3 * len(head):
        raise DataError(f"{path} is not text: many of its first bytes are control characters; name a text file")


def _wide_encoding(head: bytes) -> str | None:
    if head.startswith((b"\xff\xfe\x00\x00", b"\x00\x00\xfe\xff")):
        return "UTF-32"
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "UTF-16"
    # Without a mark: Latin letters in UTF-16 have a zero in every second byte, on one side.
    even, odd = head[::2], head[1::2]
    for zeros, others, name in ((odd, even, "UTF-16LE"), (even, odd, "UTF-16BE")):
        if len(head) >= 16 and zeros.count(0) > 0.6 * len(zeros) and others.count(0) < 0.1 * len(others):
            return name
    return None


def _neighbours(path: Path) -> str:
    try:
        found = sorted(entry.name for entry in path.parent.iterdir() if entry.name.startswith(path.name))[:4]
    except OSError:
        return f"; nor is there a folder {path.parent}"
    return f"; did you mean {' or '.join(found)}?" if found else ""
