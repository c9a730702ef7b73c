"""Where text filters get their lines: arguments, a file, standard input, or a person at a terminal."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from io import BufferedReader
from itertools import islice
from pathlib import Path
from typing import cast

from regard.data.text import MAX_CHARACTERS, raw_lines, scan_lines
from regard.errors import DataError, UsageError

# Lines that are sorted by length and translated together; results appear when all of them are done.
CHUNK = 1024
# A line beyond this many bytes is cut here so that it cannot fill the memory. It stays too long to be accepted.
MAX_BYTES = 4 * MAX_CHARACTERS + 4
_BLOCK = 1 << 16
_TOO_LONG = "x" * (MAX_CHARACTERS + 1)  # in the place of a line that `scan_lines` leaves out


def input_chunks(texts: Sequence[str], path: Path | None) -> Iterator[list[str]]:
    """Lines in chunks: `texts`, or the file `path`, or standard input as it comes (a prompt, if from a terminal).

    Raises:
        UsageError: there are both texts and a file.
        DataError: the input cannot be read or is not UTF-8.
    """
    if texts and path is not None:
        raise UsageError("there are both texts and an --input file; give one of them")
    if texts:
        yield list(texts)
    elif path is not None and str(path) != "-":
        if path.is_file():
            for _ in scan_lines(path):  # what is wrong at the end shall not wait until all before it is done
                pass
        lines = (_TOO_LONG if line is None else line for line in scan_lines(path))
        while chunk := list(islice(lines, CHUNK)):
            yield chunk
    elif sys.stdin.isatty():
        yield from _prompted()
    else:
        yield from stream_chunks(cast(BufferedReader, sys.stdin.buffer).read1)


def named_files(texts: Sequence[str], path: Path | None) -> Iterator[str]:
    """Names of files, from where `input_chunks` gets its lines. They are as the system has them, UTF-8 or not.

    Raises:
        UsageError: there are both texts and a file.
        DataError: the input cannot be read.
    """
    if texts or (path is None and sys.stdin.isatty()):
        yield from (name for chunk in input_chunks(texts, path) for name in chunk)
    elif path is None or str(path) == "-":
        yield from map(_name, sys.stdin.buffer)
    else:
        for number, _, line in raw_lines(path, max_bytes=MAX_BYTES):
            if line is None:
                raise DataError(f"{path}:{number}: so long a line is no name of a file")
            yield _name(line)


def readable(text: str) -> str:
    """`text` with U+FFFD for what is not UTF-8 in names of files."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _name(line: bytes) -> str:
    return os.fsdecode(line.removeprefix(b"\xef\xbb\xbf").removesuffix(b"\n").removesuffix(b"\r"))


def stream_chunks(read: Callable[[int], bytes]) -> Iterator[list[str]]:
    r"""The lines of a stream, as many at a time as have come: who sends one and waits gets its answer.

    `read` waits until there is something, gives at most so many bytes of it, and none at the end.
    A line ends at b"\n"; one carriage return before that, and a byte order mark at the start, are removed.

    Raises:
        DataError: a line is not UTF-8.
    """
    number, rest = 0, b""
    while block := read(_BLOCK):
        *complete, rest = (rest + block).split(b"\n")
        rest = rest[: MAX_BYTES + 1]
        for start in range(0, len(complete), CHUNK):
            chunk = complete[start : start + CHUNK]
            yield [_decode(line, number + place) for place, line in enumerate(chunk, 1)]
            number += len(chunk)
    if rest:
        yield [_decode(rest, number + 1)]


def _decode(line: bytes, number: int) -> str:
    if number == 1:
        line = line.removeprefix(b"\xef\xbb\xbf")
    if len(line) > MAX_BYTES:
        return _TOO_LONG
    try:
        return line.removesuffix(b"\r").decode()
    except UnicodeDecodeError as error:
        raise DataError(
            f"standard input:{number}: byte 0x{line[error.start]:02X} at place {error.start} of the line is not UTF-8; "
            "convert the text with `iconv -t UTF-8`"
        ) from None


def _prompted() -> Iterator[list[str]]:
    sys.stderr.write("One line at a time; Ctrl-D ends.\n")
    while True:
        sys.stderr.write("> ")
        sys.stderr.flush()
        line = sys.stdin.readline()
        if not line:
            sys.stderr.write("\n")
            return
        yield [line.rstrip("\r\n")]
