"""Clean copies of corpora: what can be cleaned is cleaned, what hurts is left out, and each such line is reported."""

import json
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from regard.data.corpus_base import Corpus, Pair
from regard.data.corpus_formats import LineCorpus
from regard.data.doctor import hold_out, location_of, survey_of
from regard.data.doctor_lines import Line, lines_of
from regard.data.doctor_survey import Judge
from regard.data.files import LineWriter, without_compression
from regard.errors import UsageError

ALWAYS_DROPPED = ("invalid", "malformed", "too_long", "blank")
"""Lines that give no pair, or no text at all."""

DROPPED = ("empty", "duplicate", "test_pair")
"""Kinds of pairs that are left out unless others are named."""

DROPPABLE = (
    *DROPPED,
    "test_source",
    "identical",
    "swapped",
    "language",
    "script",
    "replacement",
    "mojibake",
    "ratio",
    "length",
)
"""All kinds of pairs that can be left out."""


@dataclass(frozen=True)
class Treatment:
    """What became of one corpus: `num_lines` = `num_kept` + `num_dropped`; `report` names each line not kept as it was.

    `reasons` counts why lines were dropped, `changes` what was cleaned; a line can have several of either.
    """

    name: str
    files: tuple[str, ...]
    report: str
    num_lines: int
    num_kept: int
    num_changed: int
    reasons: dict[str, int]
    changes: dict[str, int]

    @property
    def num_dropped(self) -> int:
        """Lines that are not in the clean files."""
        return self.num_lines - self.num_kept

    def as_dict(self) -> dict[str, object]:
        """Plain values, for JSON."""
        return {**asdict(self), "num_dropped": self.num_dropped}


def fix(
    corpora: Sequence[Corpus], folder: Path, *, held_out: Sequence[Corpus] = (), drop: Collection[str] = DROPPED
) -> Iterator[Treatment]:
    """Write a clean copy of each corpus, under the same file names, into `folder`, and a report beside it.

    What is refused is refused at once; each corpus is then mended when its treatment is asked for.

    Cleaned are byte order marks, CRLF, control characters, line breaks other than a line feed, and Unicode's form;
    left out are lines that give no pair, and pairs with a fault in `drop`. A report has one JSON object a line:
    `location`, `action` (dropped or changed), `reasons` and `texts`.

    Raises:
        UsageError: `drop` names no kind of fault, the clean files would lie over others, or a corpus is of lines that
            belong together.
        DataError: a file cannot be read or written, or two files are not aligned; nothing is then written for them.
    """
    if unknown := sorted(set(drop) - set(DROPPABLE)):
        raise UsageError(f"nothing is dropped for `{unknown[0]}`; the reasons are {', '.join(DROPPABLE)}")
    taken: set[str] = set()
    for corpus in corpora:
        if corpus.format == "conversation":
            raise UsageError(f"{corpus.name}: a conversation cannot be mended by leaving turns out; mend it by hand")
        if corpus.format == "conll":
            raise UsageError(f"{corpus.name}: a sentence cannot be mended by leaving words out; mend it by hand")
        for path in corpus.paths:
            name = without_compression(path).name  # that of the report
            if name in taken:
                raise UsageError(f"two files are called {name}, and would lie over each other in {folder}")
            taken.add(name)
            if (folder / path.name).exists() and (folder / path.name).samefile(path):
                raise UsageError(f"the clean copy of {path} would replace it; name another folder")
    return _treatments(corpora, folder, held_out, drop)


def _treatments(
    corpora: Sequence[Corpus], folder: Path, held_out: Sequence[Corpus], drop: Collection[str]
) -> Iterator[Treatment]:
    pairs_held_out = hold_out(held_out)
    for corpus in corpora:
        judge = Judge(survey_of(corpus), pairs_held_out, has_source=corpus.has_source, not_faults=corpus.not_faults)
        yield _Pharmacy(corpus, folder, drop).treat(judge)


class _Pharmacy:
    """One corpus under treatment."""

    def __init__(self, corpus: Corpus, folder: Path, drop: Collection[str]) -> None:
        self.corpus = corpus
        self.files = [folder / path.name for path in corpus.paths]
        self.report = folder / f"{without_compression(self.files[0]).name}.report.jsonl"
        self.drop = drop
        self.num_lines = self.num_kept = self.num_changed = 0
        self.reasons: Counter[str] = Counter()
        self.changes: Counter[str] = Counter()

    def treat(self, judge: Judge) -> Treatment:
        with ExitStack() as stack:
            writers = [stack.enter_context(LineWriter(file)) for file in self.files]
            report = stack.enter_context(LineWriter(self.report))
            for line in lines_of(self.corpus):
                self.num_lines += 1
                faults = [[kind for kind, _ in judge.faults(pair) if kind in self.drop] for pair in line.pairs]
                kept = [pair for pair, kinds in zip(line.pairs, faults, strict=True) if not kinds]
                lost = [kind for kinds in faults for kind in kinds]
                lost += [name for name in line.all_outcomes if name in ALWAYS_DROPPED]
                if texts := self._clean(line, kept):
                    self._keep(writers, texts)
                    self._note_change(report, line, lost)
                else:
                    self._note_drop(report, line, lost)
        reasons, changes = dict(self.reasons.most_common()), dict(self.changes.most_common())
        return Treatment(
            self.corpus.name,
            tuple(map(str, self.files)),
            str(self.report),
            self.num_lines,
            self.num_kept,
            self.num_changed,
            reasons,
            changes,
        )

    def _clean(self, line: Line, kept: list[Pair]) -> list[str]:
        """The line for each file; none where nothing of it stays."""
        texts = [text for text in line.texts if text is not None]
        if len(texts) < len(line.texts) or line.problem is not None:
            return []
        if isinstance(self.corpus, LineCorpus):
            if not texts[0].strip():
                return []
            if not line.pairs and "too_long" not in line.all_outcomes:
                return texts  # a header or a comment
            return [self.corpus.rewrite(texts[0], kept)] if kept else []
        return texts if kept else []

    def _keep(self, writers: list[LineWriter], texts: list[str]) -> None:
        self.num_kept += 1
        for writer, text in zip(writers, texts, strict=True):
            writer.write(text)

    def _note_change(self, report: LineWriter, line: Line, lost: list[str]) -> None:
        changes = [*(name for name in line.all_outcomes if name not in ("comments", "extra_columns")), *lost]
        if changes:
            self.num_changed += 1
            self.changes.update(set(changes))
            self._report(report, line, "changed", changes)

    def _note_drop(self, report: LineWriter, line: Line, lost: list[str]) -> None:
        reasons = [*lost, "malformed"] if line.problem is not None else lost or ["blank"]
        self.reasons.update(set(reasons))
        self._report(report, line, "dropped", reasons)

    def _report(self, report: LineWriter, line: Line, action: str, reasons: list[str]) -> None:
        entry = {
            "location": location_of(self.corpus, line),
            "action": action,
            "reasons": list(dict.fromkeys(reasons)),
            "texts": line.texts,
        }
        report.write(json.dumps(entry, ensure_ascii=False))
