"""What every corpus offers: pairs in order, their number, where each stands, and a hash of the content."""

import hashlib
import json
from abc import ABC, abstractmethod
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal, NamedTuple

from regard.data.files import check_file, read_error
from regard.data.pictures import Pictures
from regard.data.text import CLEANING_VERSION, MAX_CHARACTERS, Counts, OnError
from regard.errors import DataError

Format = Literal[
    "auto", "moses", "tsv", "jsonl", "cmudict", "conversation", "text", "labelled", "conll",
    "captions", "coco", "karpathy", "folders", "idx",
]  # fmt: skip


TWO_LANGUAGES = frozenset(("swapped", "language", "identical", "ratio"))
"""Findings of the data doctor that only translations can have."""


class Pair(NamedTuple):
    """What is read and what is to be said."""

    source: str
    target: str


class Record(NamedTuple):
    """A pair with the number, from 1, of its line; without pair where the line was left out, which is counted."""

    line: int
    pair: Pair | None


class Reading(NamedTuple):
    """How lines become texts: what to do with a bad one, and how many characters are too many."""

    on_error: OnError = "error"
    max_length: int = MAX_CHARACTERS


class Corpus(ABC):
    """Pairs in the order of their lines. Empty texts are kept: a test set must stay aligned with its output.

    Where `pictures` is not None the sources are names of pictures that it can read.
    Iterating raises DataError for a file that cannot be read, or a line that has not the form of its file.
    """

    format: Format
    has_source: bool = True  # False for plain text, of which a language model learns: then every source is empty
    # Findings of the data doctor (`regard.data.doctor.KINDS`) that mean nothing in this form.
    not_faults: frozenset[str] = frozenset()
    pictures: Pictures | None = None

    def __init__(self, paths: tuple[Path, ...], reading: Reading) -> None:
        self.paths: Final = paths
        self.reading: Final = reading
        self._lines: _LineNumbers | None = None
        self._counts: Counts | None = None
        self._fingerprint: str | None = None
        for path in paths:
            check_file(path)

    def malformed(self, number: int, told: str, counts: Counts) -> Record:
        """The record of a place that does not fit the format: nothing, and counted, where such shall be left out.

        Raises:
            DataError: they shall not; `told` says what is wrong and where.
        """
        if self.reading.on_error != "skip":
            raise DataError(f"{told}; in a recipe `data.on_error: skip` leaves it out")
        counts.add("malformed")
        return Record(number, None)

    @abstractmethod
    def records(self, counts: Counts) -> Iterator[Record]:
        """One or more records for each line that holds any, with or without a pair; `counts` grows on the way.

        Raises:
            DataError: a file cannot be read, or a line has not the form of its file.
        """

    @property
    def name(self) -> str:
        """The files, as the user named them."""
        return " and ".join(map(str, self.paths))

    def __iter__(self) -> Iterator[Pair]:
        lines, counts = _LineNumbers(), Counts()
        for record in self.records(counts):
            if record.pair is None:
                counts.add("left_out")
            else:
                lines.append(record.line)
                yield record.pair
        self._lines, self._counts = lines, counts

    def __len__(self) -> int:
        """The number of pairs; the first call reads the corpus, unless it was read to its end before."""
        return self._read_once()[0].num_rows

    def __bool__(self) -> bool:
        return True  # otherwise `if corpus` would read it all

    @property
    def counts(self) -> Counts:
        """What was changed and left out in one reading of the whole corpus."""
        return self._read_once()[1]

    def location(self, row: int) -> str:
        """Where pair `row` stands, such as `train.en.gz:17`; for messages."""
        return self.place(self._read_once()[0][row])

    def place(self, line: int) -> str:
        """How messages name a line."""
        return f"{self.paths[0]}:{line}"

    def fingerprint(self) -> str:
        """SHA-256 of the files' bytes and of all that decides how they become texts.

        Raises:
            DataError: a file cannot be read.
        """
        if self._fingerprint is None:
            parts = [CLEANING_VERSION, self.format, *self.reading, self._columns(), *map(_digest, self.paths)]
            if self.pictures is not None:
                parts.append(self.pictures.digest(pair.source for pair in self))
            self._fingerprint = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
        return self._fingerprint

    def _columns(self) -> tuple[str | int, ...]:
        """What else, beside the bytes, decides which texts are read."""
        return ()

    def _read_once(self) -> tuple["_LineNumbers", Counts]:
        if self._lines is None:
            for _ in self:
                pass
        assert self._lines is not None
        assert self._counts is not None
        return self._lines, self._counts


class _LineNumbers:
    """The line of every row. Only the rows are kept at which the distance between line and row changes."""

    def __init__(self) -> None:
        self.num_rows = 0
        self._rows = array("q")
        self._distances = array("q")

    def append(self, line: int) -> None:
        distance = line - self.num_rows
        if not self._distances or self._distances[-1] != distance:
            self._rows.append(self.num_rows)
            self._distances.append(distance)
        self.num_rows += 1

    def __getitem__(self, row: int) -> int:
        if not 0 <= row < self.num_rows:
            raise IndexError(f"there is no pair {row}; the corpus has {self.num_rows}")
        return row + self._distances[bisect_right(self._rows, row) - 1]


def _digest(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise read_error(path, error) from error
