"""The data doctor: everything in a corpus that hurts training, each with its severity, number and examples.

It reads every corpus twice, line by line: once to learn what is usual in it, once to find what is not.
"""

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Literal, get_args

from regard.data.corpus_base import Corpus
from regard.data.doctor_lines import Line, lines_of
from regard.data.doctor_survey import HeldOut, Judge, Survey, letters_of
from regard.data.misalignment import MisalignedError
from regard.errors import DataError

Severity = Literal["error", "warning", "note"]

KINDS: dict[str, tuple[Severity, str]] = {
    "unreadable": ("error", "the file cannot be read"),
    "line_count": ("error", "the files are not aligned"),
    "no_pairs": ("error", "there is no pair to learn from"),
    "invalid": ("error", "line(s) are not UTF-8"),
    "malformed": ("error", "line(s) have not the form of the file"),
    "missing_picture": ("error", "picture(s) are not there, or lie outside of their folder"),
    "unreadable_picture": ("error", "picture(s) cannot be read"),
    "test_picture": ("warning", "picture(s) stand in the test or validation set, perhaps under another name"),
    "test_pair": ("warning", "pair(s) stand in the test or validation set"),
    "unknown_characters": ("warning", "line(s) hold characters that no training line holds"),
    "empty": ("warning", "pair(s) have a side that is empty or cannot be seen"),
    "swapped": ("warning", "pair(s) look swapped: each side has the words of the other"),
    "language": ("warning", "pair(s) have a side with the words of the other: it is not translated"),
    "identical": ("warning", "pair(s) have the same text on both sides"),
    "script": ("warning", "side(s) are written in another script than their file"),
    "replacement": ("warning", "side(s) hold U+FFFD: text that was damaged before"),
    "mojibake": ("warning", "side(s) look like UTF-8 that was once read as Latin-1"),
    "nuls": ("warning", "line(s) hold NULs"),
    "controls": ("warning", "line(s) hold control characters"),
    "line_breaks": ("warning", "line(s) hold line breaks other than a line feed, at which other programs split"),
    "too_long": ("warning", "line(s) are too long to be read"),
    "ratio": ("note", "pair(s) have sides of unusually different length"),
    "length": ("note", "pair(s) are unusually long"),
    "duplicate": ("note", "pair(s) stand there more than once"),
    "ambiguous_source": ("note", "pair(s) share their source with another target"),
    "test_source": ("note", "pair(s) have a source of the test or validation set, with another target"),
    "duplicate_picture": ("note", "picture(s) are there before, under another name"),
    "one_colour": ("note", "picture(s) have one colour throughout"),
    "more_pictures": ("note", "file(s) hold more than one picture; the first is used"),
    "rare_characters": ("note", "line(s) hold characters of fewer than three lines"),
    "byte_order_marks": ("note", "file(s) begin with a byte order mark"),
    "carriage_returns": ("note", "line(s) end in CRLF"),
    "normalised": ("note", "line(s) are not in Unicode's form NFC"),
    "extra_columns": ("note", "line(s) have more columns than are read"),
}
"""The severity and the sentence of every kind of finding, worst first."""

# So few of these are names, numbers and loan words; more are a mistake in the corpus.
_HARMLESS_SHARE = {"identical": 0.01, "language": 0.01}
# More than these are no accident any more.
_WORRYING_SHARE = {"duplicate": 0.5, "ratio": 0.02}


@dataclass(frozen=True)
class Example:
    """Where something was found, and the beginning of the texts there."""

    location: str
    text: str


@dataclass(frozen=True)
class Finding:
    """One kind of trouble: `count` times, of which `examples` are the first. `message` is a whole sentence."""

    severity: Severity
    kind: str
    count: int
    message: str
    examples: tuple[Example, ...] = ()


@dataclass(frozen=True)
class Diagnosis:
    """All that was found in one corpus, worst first."""

    name: str
    role: Literal["train", "test"]
    num_lines: int
    num_pairs: int
    findings: tuple[Finding, ...]

    def has(self, severity: Severity) -> bool:
        """Whether there is a finding of this severity."""
        return any(finding.severity == severity for finding in self.findings)

    def as_dict(self) -> dict[str, object]:
        """Plain values, for JSON."""
        return asdict(self)


def examine(train: Sequence[Corpus], test: Sequence[Corpus] = (), *, num_examples: int = 3) -> Iterator[Diagnosis]:
    """The diagnosis of each corpus: first of all training corpora, then of those held out from them.

    Held-out corpora are looked for in the training corpora, and their characters are compared with theirs.
    """
    held_out = hold_out(test)
    known: tuple[set[str], set[str]] = (set(), set())
    for corpus in train:
        patient = _Patient(corpus, "train", num_examples)
        for side in (0, 1):
            known[side].update(patient.survey.characters[side])
        yield patient.diagnose(held_out, patient.rare_characters(), "rare_characters")
    for corpus in test:
        patient = _Patient(corpus, "test", num_examples)
        unknown = [set(patient.survey.characters[side]) - known[side] if train else set() for side in (0, 1)]
        yield patient.diagnose(HeldOut(), unknown, "unknown_characters")


def hold_out(corpora: Sequence[Corpus]) -> HeldOut:
    """The pairs of these corpora, as far as they can be read."""
    held_out = HeldOut()
    for corpus in corpora:
        for line in _readable_lines(corpus):
            for pair in line.pairs:
                held_out.add(pair, location_of(corpus, line))
    return held_out


def survey_of(corpus: Corpus) -> Survey:
    """What is usual in the corpus, as far as it can be read."""
    survey = Survey()
    for line in _readable_lines(corpus):
        survey.num_lines += 1
        for pair in line.pairs:
            survey.add(pair)
    return survey


def location_of(corpus: Corpus, line: Line, file: int = 0) -> str:
    """Such as `train.en.gz:17`."""
    return f"{corpus.paths[file]}:{line.number}"


class _Patient:
    """One corpus under examination, and the findings so far."""

    def __init__(self, corpus: Corpus, role: Literal["train", "test"], num_examples: int) -> None:
        self.corpus = corpus
        self.role = role
        self.num_examples = num_examples
        self.survey = survey_of(corpus)
        self._counts: dict[str, int] = {}
        self._examples: dict[str, list[Example]] = {}
        self._messages: dict[str, str] = {}

    def rare_characters(self) -> list[set[str]]:
        """Of each side; few lines make nothing rare."""
        return [self.survey.rare_characters(side) if self.survey.num_pairs >= 1000 else set() for side in (0, 1)]

    def diagnose(self, held_out: HeldOut, odd: Sequence[set[str]], kind: str) -> Diagnosis:
        """Read the corpus once more; `odd` are the characters of each side to be found as `kind`."""
        corpus = self.corpus
        judge = Judge(self.survey, held_out, has_source=corpus.has_source, not_faults=corpus.not_faults)
        patterns = [letters_of(characters) for characters in odd]
        try:
            for line in lines_of(self.corpus):
                self._look_at(line)
                for pair in line.pairs:
                    for fault, remark in judge.faults(pair):
                        self._add(fault, line, remark)
                    if letters := _found(patterns, pair):
                        self._add(kind, line, " ".join(f"{letter} (U+{ord(letter):04X})" for letter in letters))
        except MisalignedError as error:
            self._add_message("line_count", str(error))
        except DataError as error:
            self._add_message("unreadable", str(error))
        if not self._messages and not self.survey.num_pairs:
            self._add_message("no_pairs", f"{self.corpus.name} holds no pair to learn from")
        findings = worst_first(self._finding(kind) for kind in KINDS if kind in self._counts)
        return Diagnosis(self.corpus.name, self.role, self.survey.num_lines, self.survey.num_pairs, findings)

    def _look_at(self, line: Line) -> None:
        for file, outcomes in enumerate(line.outcomes):
            for outcome in outcomes:
                if outcome in KINDS:
                    self._add(outcome, line, "", file)
        if line.problem is not None:
            self._add("malformed", line, line.problem)

    def _add(self, kind: str, line: Line, remark: str, file: int = 0) -> None:
        self._counts[kind] = self._counts.get(kind, 0) + 1
        examples = self._examples.setdefault(kind, [])
        if len(examples) < self.num_examples:
            text = _excerpt(line.texts)
            examples.append(Example(location_of(self.corpus, line, file), f"{remark}: {text}" if remark else text))

    def _add_message(self, kind: str, message: str) -> None:
        self._counts[kind], self._messages[kind] = 1, message

    def _finding(self, kind: str) -> Finding:
        return finding_of(
            kind,
            self._counts[kind],
            num_pairs=self.survey.num_pairs,
            examples=self._examples.get(kind, ()),
            message=self._messages.get(kind),
        )


def finding_of(
    kind: str, count: int, *, num_pairs: int, examples: Sequence[Example] = (), message: str | None = None
) -> Finding:
    """The finding of a kind (see `KINDS`), with its usual sentence unless there is a `message`."""
    severity, sentence = KINDS[kind]
    share = count / max(1, num_pairs)
    if share <= _HARMLESS_SHARE.get(kind, 0.0):
        severity = "note"
    if share > _WORRYING_SHARE.get(kind, math.inf):
        severity = "warning"
    return Finding(severity, kind, count, message or f"{count:,} {sentence}", tuple(examples))


def worst_first(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Sorted by severity."""
    return tuple(sorted(findings, key=lambda finding: get_args(Severity).index(finding.severity)))


def _found(patterns: Sequence[re.Pattern[str] | None], texts: Sequence[str]) -> list[str]:
    found = (pattern.findall(text) for text, pattern in zip(texts, patterns, strict=True) if pattern is not None)
    return sorted(set(chain.from_iterable(found)))


def _readable_lines(corpus: Corpus) -> Iterator[Line]:
    """The lines up to the first trouble; `diagnose` reports it."""
    try:
        yield from lines_of(corpus)
    except DataError:
        return


def _excerpt(texts: Sequence[str | None], width: int = 60) -> str:
    """The beginnings of the texts; what would disturb a terminal is spelt out."""
    shown = ["(left out)" if text is None else _spelt_out(text.replace("\t", " | ")) for text in texts]
    return " | ".join(text if len(text) <= width else text[: width - 3] + "..." for text in shown)


def _spelt_out(text: str) -> str:
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)
