"""The forms of corpora: two aligned files, TSV, JSONL, and pronunciation dictionaries as CMUdict writes them."""

import json
import re
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from itertools import zip_longest
from pathlib import Path

from regard.data.corpus_base import TWO_LANGUAGES, Corpus, Format, Pair, Reading, Record
from regard.data.misalignment import describe_mismatch
from regard.data.text import Counts, clean_line, scan_lines
from regard.errors import DataError

_VARIANT = re.compile(r"(?<=.)\(\d+\)$")
_COMMENT = re.compile(r"\s#(\s.*)?$")


class MosesCorpus(Corpus):
    """Two files; line i of one belongs to line i of the other. One file twice is a text that is to be said again."""

    format: Format = "moses"

    def __init__(self, paths: tuple[Path, ...], reading: Reading) -> None:
        super().__init__(paths, reading)
        if paths[0] == paths[1]:
            self.not_faults = TWO_LANGUAGES

    def records(self, counts: Counts) -> Iterator[Record]:
        """One record for each line of the two files.

        Raises:
            DataError: one file has more lines than the other; the message says where they seem to part.
        """
        source, target = (
            scan_lines(path, on_error=self.reading.on_error, max_length=self.reading.max_length, counts=counts)
            for path in self.paths
        )
        end = Pair("", "")  # anything that is no line
        for number, texts in enumerate(zip_longest(source, target, fillvalue=end), start=1):
            if texts[0] is end or texts[1] is end:
                raise describe_mismatch(*self.paths)
            if texts[0] is None or texts[1] is None:
                yield Record(number, None)
            else:
                yield Record(number, Pair(str(texts[0]), str(texts[1])))


class MalformedLineError(Exception):
    """What a line lacks, as the end of a sentence."""


class LineCorpus(Corpus):
    """A file each of whose lines, but for the first `num_header_lines`, is parsed by itself."""

    def __init__(self, path: Path, reading: Reading, num_header_lines: int = 0) -> None:
        super().__init__((path,), reading)
        self.num_header_lines = num_header_lines

    @abstractmethod
    def parse(self, line: str, counts: Counts) -> Iterator[Pair]:
        """The pairs of one line.

        Raises:
            MalformedLineError: the line has not the form of the file.
        """

    def parser(self) -> Callable[[str, Counts], Iterator[Pair]]:
        """`parse` for one reading from the first line to the last; a form whose lines belong together overrides it."""
        return self.parse

    @abstractmethod
    def rewrite(self, line: str, pairs: Sequence[Pair]) -> str:
        """A line which has this form and of all pairs that `line` gives only these (at least one)."""

    def records(self, counts: Counts) -> Iterator[Record]:
        """One record for each pair of each line that is not blank.

        Raises:
            DataError: a line has not the form of the file, and is not to be skipped.
        """
        path, on_error, max_length = self.paths[0], self.reading.on_error, self.reading.max_length
        # A line holds two texts and perhaps more columns; each text is measured by itself below.
        lines = scan_lines(path, on_error=on_error, max_length=8 * max_length, counts=counts)
        parse = self.parser()
        for number, line in enumerate(lines, start=1):
            if number <= self.num_header_lines:
                continue
            if line is None:
                parse = self.parser()  # what follows does not go on from what stands before the gap
                yield Record(number, None)
            elif not line.strip():
                counts.add("blank")
            else:
                yield from self._parse(parse, line, number, counts)

    def _parse(
        self, parse: Callable[[str, Counts], Iterator[Pair]], line: str, number: int, counts: Counts
    ) -> Iterator[Record]:
        try:
            for pair in parse(line, counts):
                if max(map(len, pair)) > self.reading.max_length:
                    counts.add("too_long")
                    yield Record(number, None)
                else:
                    yield Record(number, pair)
        except MalformedLineError as error:
            yield self.malformed(number, f"{self.paths[0]}:{number}: {error}; mend the line", counts)


class TsvCorpus(LineCorpus):
    """Columns between tabs, without quoting. `columns` are the places, from 1, of source and target."""

    format: Format = "tsv"

    def __init__(self, path: Path, reading: Reading, columns: tuple[int, int], num_header_lines: int = 0) -> None:
        super().__init__(path, reading, num_header_lines)
        self.columns = columns
        if columns[0] == columns[1]:
            self.not_faults = TWO_LANGUAGES

    def parse(self, line: str, counts: Counts) -> Iterator[Pair]:
        """The two columns."""
        cells = line.split("\t")
        if len(cells) < max(self.columns):
            raise MalformedLineError(
                f"there are {len(cells)} column(s) between tabs, but column {max(self.columns)} is wanted"
            )
        if len(cells) > 2:
            counts.add("extra_columns")
        yield Pair(*(cells[column - 1] for column in self.columns))

    def rewrite(self, line: str, pairs: Sequence[Pair]) -> str:
        """The line itself, for it gives one pair."""
        return line

    def _columns(self) -> tuple[str | int, ...]:
        return (*self.columns, self.num_header_lines)


class JsonCorpus(LineCorpus):
    """One JSON object a line: `{"source": ..., "target": ...}`, or by language, also under the key `translation`."""

    format: Format = "jsonl"

    def __init__(self, path: Path, reading: Reading, source: str, target: str) -> None:
        super().__init__(path, reading)
        self.source = source
        self.target = target

    def parse(self, line: str, counts: Counts) -> Iterator[Pair]:
        """The two values: under the names of the sides, else under `source` and `target`."""
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise MalformedLineError(f"this is not JSON ({error})") from error
        value = value.get("translation", value) if isinstance(value, dict) else value
        if not isinstance(value, dict):
            raise MalformedLineError("a JSON object is wanted")
        texts = [value.get(name) for name in self._names(value)]
        if not all(isinstance(text, str) for text in texts):
            keys = ", ".join(f"`{key}`" for key in list(value)[:6])
            raise MalformedLineError(f"texts under {self._wanted()} are wanted; the keys are {keys or 'none'}")
        try:
            yield Pair(*(clean_line(str(text), counts) for text in texts))
        except DataError as error:  # half a surrogate pair, which only an escape can bring in
            raise MalformedLineError(str(error)) from error

    def _wanted(self) -> str:
        usual = "`source` and `target`"
        own = f"`{self.source}` and `{self.target}`"
        return usual if own == usual else f"{own} (or {usual})"

    def rewrite(self, line: str, pairs: Sequence[Pair]) -> str:
        """The line with the cleaned texts, all other keys as they are."""
        whole = json.loads(line)
        value = whole.get("translation", whole)
        if isinstance(value, dict):
            value.update(zip(self._names(value), pairs[0], strict=True))
        return json.dumps(whole, ensure_ascii=False)

    def _names(self, value: dict[str, object]) -> tuple[str, str]:
        return (self.source, self.target) if self.source in value and self.target in value else ("source", "target")

    def _columns(self) -> tuple[str | int, ...]:
        return (self.source, self.target)


class DictionaryCorpus(LineCorpus):
    """`WORD  P H O N E S`, one pronunciation a line; `WORD(2)` is another one of `WORD`.

    After a tab, every further column is a pronunciation. `;;;` begins a line that is a comment; ` # ` ends a line with
    one. The target holds the phones with one space between them.
    """

    format: Format = "cmudict"

    def parse(self, line: str, counts: Counts) -> Iterator[Pair]:
        """One pair for each pronunciation."""
        if line.startswith(";;;"):
            counts.add("comments")
            return
        if "#" in line:
            line, found = _COMMENT.subn("", line)
            counts.add("comments", found)
            if not line.strip():
                return
        word, *columns = line.split("\t") if "\t" in line else line.split(maxsplit=1)
        if "  " in word.strip():
            raise MalformedLineError("the word is parted from its phones by spaces, yet a tab comes later")
        word = _VARIANT.sub("", word.strip())
        pronunciations = [" ".join(column.split()) for column in columns if column.strip()]
        if not word or not pronunciations:
            raise MalformedLineError("a word, two spaces or a tab, and phones are wanted")
        for pronunciation in pronunciations:
            yield Pair(word, pronunciation)

    def rewrite(self, line: str, pairs: Sequence[Pair]) -> str:
        """The line itself, or the word with fewer pronunciations between tabs."""
        if len(pairs) == sum(1 for _ in self.parse(line, Counts())):
            return line
        return "\t".join([pairs[0].source, *(pair.target for pair in pairs)])
