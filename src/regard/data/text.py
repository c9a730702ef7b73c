r"""Lines of text from files: bytes split at b"\n" alone, strict UTF-8, NFC; nothing is dropped or changed uncounted."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

from regard.data.files import LineWriter, open_bytes, read_error
from regard.errors import DataError

OnError = Literal["error", "replace", "skip"]

MAX_CHARACTERS = 20_000
"""A longer line is left out before any tokenizer sees it: one line without spaces can cost gigabytes there."""

CLEANING_VERSION = 1
"""Raised whenever the same bytes would give another text, so that caches of the older text are not used."""

_BOM = b"\xef\xbb\xbf"
_CONTROL_BYTES = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f]")
_NO_TEXT = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")  # C0 but tab, DEL, C1, line separators
_LINE_BREAKS = re.compile("[\x0a-\x0d\x1c-\x1e\x85\u2028\u2029]")  # all that `str.splitlines` splits at
_CONTROLS = re.compile("[\x01-\x08\x0e-\x1b\x1f\x7f-\x84\x86-\x9f]")
_SURROGATES = re.compile("[\ud800-\udfff]")
_LATIN_1_LETTERS = frozenset(range(0xC0, 0x100)) - {0xD7, 0xF7}

_OUTCOMES = {
    "byte_order_marks": "file(s) began with a byte order mark, which was removed",
    "carriage_returns": "line(s) ended in CRLF; the carriage return was removed",
    "nuls": "line(s) held NULs, which became spaces",
    "line_breaks": "line(s) held line breaks other than a line feed (U+2028, U+0085, ...), which became spaces",
    "controls": "line(s) held control characters, which became spaces",
    "normalised": "line(s) were not in Unicode's form NFC and were brought into it",
    "replaced": "line(s) were not UTF-8; U+FFFD stands for what could not be read",
    "invalid": "line(s) were not UTF-8 and were left out",
    "too_long": "line(s) were too long and were left out",
    "malformed": "line(s) did not have the form of the file and were left out",
    "blank": "blank line(s) between the records were passed over",
    "comments": "comment(s) were passed over",
    "extra_columns": "line(s) had more columns than were asked for; the others were not read",
    "left_out": "pair(s) were left out in all",
}


class Counts:
    """How often what happened to the lines of a file while they were read; empty where nothing did.

    Each name counts lines (or files, or pairs) as its sentence in `sentences` says.
    """

    def __init__(self) -> None:
        self._counter: Counter[str] = Counter()

    def add(self, name: str, number: int = 1) -> None:
        """Count `number` more of the outcome `name`."""
        if name not in _OUTCOMES:
            raise ValueError(f"no outcome is called {name!r}; there are {', '.join(_OUTCOMES)}")
        if number:
            self._counter[name] += number

    def clear(self) -> None:
        """Begin anew."""
        self._counter.clear()

    def __getitem__(self, name: str) -> int:
        return self._counter[name]

    def __bool__(self) -> bool:
        return bool(self._counter)

    def __repr__(self) -> str:
        return f"Counts({self.as_dict()})"

    def as_dict(self) -> dict[str, int]:
        """Name and number of every outcome that happened, in a fixed order."""
        return {name: self._counter[name] for name in _OUTCOMES if self._counter[name]}

    def sentences(self) -> list[str]:
        """One sentence for each outcome that happened, to be printed."""
        return [f"{number:,} {_OUTCOMES[name]}" for name, number in self.as_dict().items()]


def texts_of(texts: object) -> list[str]:
    """One text, or several, as a list.

    Raises:
        TypeError: it is, or holds, something else.
    """
    found = list[str]()
    for text in texts if isinstance(texts, Iterable) and not isinstance(texts, str | bytes) else [texts]:
        if not isinstance(text, str):
            decode = "; decode it first: text.decode('utf-8')" if isinstance(text, bytes) else ""
            raise TypeError(f"a text is a str, not {type(text).__name__}{decode}")
        found.append(text)
    return found


def clean_line(text: str, counts: Counts | None = None) -> str:
    """NFC, with every control character but the tab, and every line separator, made a space.

    Raises:
        DataError: the text holds half of a surrogate pair, which no file and no tokenizer can hold.
    """
    counts = Counts() if counts is None else counts
    if _NO_TEXT.search(text):
        for name, kind in (("nuls", "\0"), ("line_breaks", _LINE_BREAKS), ("controls", _CONTROLS)):
            counts.add(name, bool(re.search(kind, text)))
        text = _NO_TEXT.sub(" ", text)
    if text.isascii():
        return text
    if surrogate := _SURROGATES.search(text):
        raise DataError(
            f"character {surrogate.start() + 1} of the text is half of a surrogate pair "
            f"(U+{ord(surrogate.group()):04X}), which UTF-8 cannot write; remove it"
        )
    if not unicodedata.is_normalized("NFC", text):
        counts.add("normalised")
        text = unicodedata.normalize("NFC", text)
    return text


def is_blank(text: str) -> bool:
    """Whether nothing can be seen: no character, or only spaces, controls and characters without width."""
    return not text.strip() or all(
        character.isspace() or unicodedata.category(character) in ("Cf", "Cc") for character in text
    )


def read_lines(
    path: Path, *, on_error: OnError = "error", max_length: int = MAX_CHARACTERS, counts: Counts | None = None
) -> Iterator[str]:
    """The cleaned lines of one file, less those that `scan_lines` leaves out.

    Raises:
        DataError: the file cannot be read, or (`on_error="error"`) is not UTF-8.
    """
    for text in scan_lines(path, on_error=on_error, max_length=max_length, counts=counts):
        if text is not None:
            yield text


def scan_lines(
    path: Path, *, on_error: OnError = "error", max_length: int = MAX_CHARACTERS, counts: Counts | None = None
) -> Iterator[str | None]:
    r"""Every line of a file in order, cleaned; None in the place of one left out, so that two files stay aligned.

    A line ends at b"\n" and nowhere else. A byte order mark at the start and one carriage return at the end of a line
    are removed. A line of more than `max_length` characters is left out; one that is not UTF-8 is an error, is left
    out, or keeps U+FFFD for what could not be read, as `on_error` says. Files in `.gz` and `.zst` are read as text.

    Raises:
        DataError: the file cannot be read, or (`on_error="error"`) is not UTF-8.
    """
    counts = Counts() if counts is None else counts
    for number, offset, raw in raw_lines(path, max_bytes=4 * max_length + 8):  # no character needs more than 4 bytes
        if number == 1 and raw is not None and raw.startswith(_BOM):
            counts.add("byte_order_marks")
            offset, raw = len(_BOM), raw[len(_BOM) :]
        if raw is None:
            counts.add("too_long")
            yield None
            continue
        if raw.endswith(b"\n"):
            raw = raw[:-1]
        if raw.endswith(b"\r"):
            counts.add("carriage_returns")
            raw = raw[:-1]
        if len(raw) <= max_length and raw.isascii() and not _CONTROL_BYTES.search(raw):  # nearly every line
            yield raw.decode("ascii")
            continue
        text = _decode(raw, where=f"{path}:{number}", offset=offset, on_error=on_error, counts=counts)
        if text is not None and len(text) > max_length:
            counts.add("too_long")
            text = None
        yield None if text is None else clean_line(text, counts)


def raw_lines(path: Path, *, max_bytes: int) -> Iterator[tuple[int, int, bytes | None]]:
    r"""Number (from 1), byte offset in the text, and bytes with their b"\n" of each line; None for too many bytes.

    Raises:
        DataError: the file cannot be opened or read to its end.
    """
    number = offset = 0
    with open_bytes(path) as file:
        try:
            while raw := file.readline(max_bytes):
                number += 1
                start, offset = offset, offset + len(raw)
                if len(raw) == max_bytes and not raw.endswith(b"\n"):
                    while (rest := file.readline(1 << 20)) and not rest.endswith(b"\n"):
                        offset += len(rest)
                    offset += len(rest)
                    yield number, start, None
                else:
                    yield number, start, raw
        except Exception as error:
            raise read_error(path, error, line=number + 1) from error


def count_lines(path: Path) -> int:
    r"""The number of lines, as `wc -l` counts them, and one more where the last one has no b"\n".

    Raises:
        DataError: the file cannot be opened or read to its end.
    """
    number = 0
    last = b"\n"
    with open_bytes(path) as file:
        try:
            while block := file.read(1 << 20):
                number += block.count(b"\n")
                last = block
        except Exception as error:
            raise read_error(path, error, line=number + 1) from error
    return number + (not last.endswith(b"\n"))


def write_lines(path: Path, lines: Iterable[str]) -> int:
    r"""Write each line and b"\n", compressed as the name's `.gz` or `.zst` says; the number of lines.

    The file appears under its name when it is complete.

    Raises:
        ValueError: a line holds a line feed.
        UserError: the file cannot be written.
    """
    with LineWriter(path) as writer:
        for line in lines:
            writer.write(line)
    return writer.num_lines


def _decode(raw: bytes, *, where: str, offset: int, on_error: OnError, counts: Counts) -> str | None:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        if on_error == "skip":
            counts.add("invalid")
            return None
        if on_error == "replace":
            counts.add("replaced")
            return raw.decode(errors="replace")
        raise DataError(
            f"{where}: byte 0x{raw[error.start]:02X} is not UTF-8 (byte {error.start} of the line, "
            f"{offset + error.start} of the text, counted from 0); {_suggestion(raw)}"
        ) from error


def _suggestion(raw: bytes) -> str:
    others = "or in a recipe set `data.on_error` to `replace` or `skip`"
    if all(byte in _LATIN_1_LETTERS for byte in raw if byte >= 0x80):
        return f"it looks like Latin-1: convert the file with `iconv -f WINDOWS-1252 -t UTF-8`, {others}"
    return f"convert the file to UTF-8, {others}"
