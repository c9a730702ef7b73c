"""Corpora without translations: plain text, sentences that begin with their label, and columns of tagged words."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from regard.data.corpus_base import TWO_LANGUAGES, Corpus, Format, Pair, Reading, Record
from regard.data.corpus_formats import LineCorpus, MalformedLineError
from regard.data.text import Counts, scan_lines

# Longer lines of plain text are cut: no tokenizer need see a whole book at once.
LONGEST_PIECE = 2000
_SENTENCE_ENDS = (". ", "! ", "? ", "\u3002", "\uff01", "\uff1f")  # the last three are Chinese and Japanese
_FASTTEXT = "__label__"
_DOCUMENT = "-DOCSTART-"


class TextCorpus(LineCorpus):
    """Plain text, a line an example. A line longer than `LONGEST_PIECE` becomes several, cut where sentences end."""

    format: Format = "text"
    has_source = False
    not_faults = TWO_LANGUAGES | {"ambiguous_source", "test_source"}

    def parse(self, line: str, counts: Counts) -> Iterator[Pair]:
        """The line, or its pieces."""
        for piece in pieces(line.strip(), LONGEST_PIECE):
            yield Pair("", piece)

    def rewrite(self, line: str, pairs: Sequence[Pair]) -> str:
        """The pieces that are kept."""
        return " ".join(pair.target for pair in pairs)


class LabelledCorpus(LineCorpus):
    """`LABEL sentence`: the first word is the label (TREC, SST), without fastText's `__label__` in front of it."""

    format: Format = "labelled"
    not_faults = TWO_LANGUAGES

    def parse(self, line: str, counts: Counts) -> Iterator[Pair]:
        """The sentence and its label."""
        label, _, sentence = line.strip().partition("\t" if "\t" in line.strip() else " ")
        label = label.strip().removeprefix(_FASTTEXT)
        if not label or not sentence.strip():
            raise MalformedLineError("a label, a space or tab, and a sentence are wanted")
        yield Pair(sentence.strip(), label)

    def rewrite(self, line: str, pairs: Sequence[Pair]) -> str:
        """The line itself, for it gives one pair."""
        return line


class MalformedWordError(MalformedLineError):
    """What a line lacks, `place` lines behind the first of its sentence."""

    def __init__(self, message: str, place: int) -> None:
        super().__init__(message)
        self.place = place


class ConllCorpus(Corpus):
    """A word a line with its tags in columns, and a blank line behind each sentence.

    Columns stand between tabs, or between spaces where there is no tab. `columns` are the places, from 1, of word and
    tag; None means the first and the last. Lines that begin with `-DOCSTART-` are passed over.
    """

    format: Format = "conll"
    not_faults = TWO_LANGUAGES

    def __init__(self, path: Path, reading: Reading, columns: tuple[int, int] | None) -> None:
        super().__init__((path,), reading)
        self.columns = columns

    def records(self, counts: Counts) -> Iterator[Record]:
        """One record for each sentence, with the number of its first line.

        Raises:
            DataError: a line has not the form of the file, and is not to be skipped.
        """
        lines = scan_lines(
            self.paths[0], on_error=self.reading.on_error, max_length=self.reading.max_length, counts=counts
        )
        for number, rows in self.sentences(lines):
            try:
                yield Record(number, self.pair(rows))
            except MalformedWordError as error:
                yield self.malformed(number, f"{self.paths[0]}:{number + error.place}: {error}; mend the line", counts)

    def sentences(self, lines: Iterable[str | None]) -> Iterator[tuple[int, list[str | None]]]:
        """The number of each sentence's first line, and its lines; None stands for one that could not be read."""
        rows: list[str | None] = []
        number = 0
        for number, line in enumerate(lines, start=1):
            if line is not None and (not line.strip() or line.startswith(_DOCUMENT)):
                if rows:
                    yield number - len(rows), rows
                rows = []
            else:
                rows.append(line)
        if rows:
            yield number - len(rows) + 1, rows

    def pair(self, rows: Sequence[str | None]) -> Pair:
        """The words and their tags, each with spaces between them.

        Raises:
            MalformedWordError: a line lacks a column, or could not be read.
        """
        words, tags = [], []
        for place, row in enumerate(rows):
            if row is None:
                raise MalformedWordError("a line of this sentence could not be read", place)
            cells = [cell.strip() for cell in row.split("\t")] if "\t" in row else row.split()
            first, last = self.columns or (1, len(cells))
            if len(cells) < max(2, first, last):
                wanted = max(2, first, last)
                raise MalformedWordError(f"there are {len(cells)} column(s), but column {wanted} is wanted", place)
            word, tag = cells[first - 1], cells[last - 1]
            if len(word.split()) != 1 or len(tag.split()) != 1:
                raise MalformedWordError(f"one word and one tag are wanted, not {word!r} and {tag!r}", place)
            words.append(word)
            tags.append(tag)
        return Pair(" ".join(words), " ".join(tags))

    def _columns(self) -> tuple[str | int, ...]:
        return self.columns or ()


def pieces(text: str, longest: int) -> Iterator[str]:
    """`text` in pieces of at most `longest` characters, cut behind a sentence, else between words, else anywhere."""
    while len(text) > longest:
        head = text[:longest]
        ends = [head.rfind(mark) + len(mark) for mark in _SENTENCE_ENDS if mark in head]
        end = max(ends, default=head.rfind(" ") + 1) or longest
        yield text[:end].rstrip()
        text = text[end:].lstrip()
    if text:
        yield text
