"""A corpus line by line for the data doctor: what each line gives, what was cleaned in it, what is wrong with it."""

from collections.abc import Iterator
from itertools import zip_longest
from typing import Final, NamedTuple

from regard.data.corpus_base import Corpus, Pair
from regard.data.corpus_formats import LineCorpus, MalformedLineError
from regard.data.corpus_labelled import ConllCorpus
from regard.data.misalignment import describe_mismatch
from regard.data.text import Counts, scan_lines


class Line(NamedTuple):
    """Line `number` of one file, or of two aligned ones, after cleaning.

    `texts` has one text for each file, None where it had to be left out. `outcomes` has for each file the names of
    what was cleaned (those of `Counts`). `problem` says what keeps the line from giving `pairs`.
    """

    number: int
    texts: tuple[str | None, ...]
    outcomes: tuple[tuple[str, ...], ...]
    pairs: tuple[Pair, ...] = ()
    problem: str | None = None

    @property
    def all_outcomes(self) -> list[str]:
        """The names of all that was cleaned, each once."""
        return list(dict.fromkeys(name for names in self.outcomes for name in names))


def lines_of(corpus: Corpus) -> Iterator[Line]:
    """Every line of the corpus, also those that give no pair.

    Raises:
        DataError: a file cannot be read, or one of two files is shorter (after the last line that both have).
    """
    if isinstance(corpus, ConllCorpus):
        return _sentences(corpus)
    return _one_file(corpus) if isinstance(corpus, LineCorpus) else _two_files(corpus)


def _two_files(corpus: Corpus) -> Iterator[Line]:
    watches = [_Watch(), _Watch()]
    files = (watch.over(corpus, file) for file, watch in enumerate(watches))
    for number, texts in enumerate(zip_longest(*files, fillvalue=_END), start=1):
        source, target = texts
        if source is _END or target is _END:
            raise describe_mismatch(*corpus.paths)
        outcomes = (watches[0].take(), watches[1].take())
        if source is None or target is None:
            yield Line(number, (source, target), outcomes)
        else:
            yield Line(number, (source, target), outcomes, (Pair(source, target),))


def _one_file(corpus: LineCorpus) -> Iterator[Line]:
    watch, parse = _Watch(), corpus.parser()
    for number, text in enumerate(watch.over(corpus, 0), start=1):
        if text is None:
            parse = corpus.parser()  # as the corpus does
        if text is None or number <= corpus.num_header_lines or not text.strip():
            yield Line(number, (text,), (watch.take(),))
            continue
        try:
            pairs = tuple(parse(text, watch.counts))
        except MalformedLineError as error:
            yield Line(number, (text,), (watch.take(),), problem=str(error))
            continue
        if any(len(side) > corpus.reading.max_length for pair in pairs for side in pair):
            watch.counts.add("too_long")
            pairs = tuple(pair for pair in pairs if max(map(len, pair)) <= corpus.reading.max_length)
        yield Line(number, (text,), (watch.take(),), pairs)


def _sentences(corpus: ConllCorpus) -> Iterator[Line]:
    """A sentence of tagged words is a line with the number of its first one."""
    watch = _Watch()
    for number, rows in corpus.sentences(watch.over(corpus, 0)):
        text = None if None in rows else " / ".join(row for row in rows if row is not None)
        try:
            yield Line(number, (text,), (watch.take(),), (corpus.pair(rows),))
        except MalformedLineError as error:
            yield Line(number, (text,), (watch.take(),), problem=str(error))


class _Watch:
    """Tells which outcomes were counted since it was last asked: those of the line just read."""

    def __init__(self) -> None:
        self.counts = Counts()

    def over(self, corpus: Corpus, file: int) -> Iterator[str | None]:
        """The lines of one file of the corpus; none stops the reading, whatever the corpus would do."""
        # A line of one file holds two texts, and each is measured by itself.
        longest = corpus.reading.max_length * (8 if isinstance(corpus, LineCorpus) else 1)
        return scan_lines(corpus.paths[file], on_error="skip", max_length=longest, counts=self.counts)

    def take(self) -> tuple[str, ...]:
        if not self.counts:
            return ()
        names = tuple(self.counts.as_dict())
        self.counts.clear()
        return names


_END: Final = "\n"  # a text that no line has; compared by identity
