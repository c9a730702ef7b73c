"""The data doctor for pictures: which are missing or cannot be read, which come twice, and which stand in the test set.

Every picture is decoded once and remembered by the hash of its pixels, so that a copy under another name is found.
"""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Literal

from regard.data.corpus_base import Corpus, Pair
from regard.data.doctor import KINDS, Diagnosis, Example, Finding, finding_of, worst_first
from regard.data.text import is_blank
from regard.errors import DataError


def examine_pictures(
    train: Sequence[Corpus], test: Sequence[Corpus] = (), *, num_examples: int = 3
) -> Iterator[Diagnosis]:
    """The diagnosis of each corpus; pictures of `test` are looked for in the training corpora."""
    held_out: dict[bytes, str] = {}
    examined = []
    for corpus in test:
        patient = _Patient(corpus, "test", num_examples)
        examined.append(patient.diagnose({}))
        held_out |= patient.locations
    for corpus in train:
        yield _Patient(corpus, "train", num_examples).diagnose(held_out)
    yield from examined


class _Patient:
    """One corpus under examination, and the findings so far."""

    def __init__(self, corpus: Corpus, role: Literal["train", "test"], num_examples: int) -> None:
        self.corpus = corpus
        self.role: Literal["train", "test"] = role
        self.locations: dict[bytes, str] = {}
        self._num_examples = num_examples
        self._counts: dict[str, int] = {}
        self._examples: dict[str, list[Example]] = {}
        self._messages: dict[str, str] = {}
        self.num_pairs = 0

    def diagnose(self, held_out: dict[bytes, str]) -> Diagnosis:
        """Read all pairs, and every picture at its first one."""
        pairs, names = set[tuple[str, str]](), set[str]()
        try:
            for pair in self.corpus:
                self._look_at_text(pair, is_known=pair in pairs)
                pairs.add(pair)
                if pair.source not in names:
                    names.add(pair.source)
                    self._look_at(pair.source, held_out)
        except DataError as error:
            self._messages["unreadable"] = str(error)
        else:
            counts = self.corpus.counts.as_dict()
            self._counts |= {kind: counts[kind] for kind in ("invalid", "malformed", "too_long") if kind in counts}
            if not pairs:
                self._messages["no_pairs"] = f"{self.corpus.name} holds no pair to learn from"
        self._counts |= dict.fromkeys(self._messages, 1)
        findings = worst_first(self._finding(kind, self.num_pairs) for kind in KINDS if kind in self._counts)
        return Diagnosis(self.corpus.name, self.role, self.num_pairs, self.num_pairs, findings)

    def _finding(self, kind: str, num_pairs: int) -> Finding:
        examples, message = self._examples.get(kind, ()), self._messages.get(kind)
        return finding_of(kind, self._counts[kind], num_pairs=num_pairs, examples=examples, message=message)

    def _look_at_text(self, pair: Pair, *, is_known: bool) -> None:
        self.num_pairs += 1
        # Where a pair stands is known only when all are read: the picture has to do.
        assert self.corpus.pictures is not None
        where = self.corpus.pictures.location(pair.source)
        if is_blank(pair.target):
            self._add("empty", where, "target")
        elif is_known:
            self._add("duplicate", where, pair.target)

    def _look_at(self, name: str, held_out: dict[bytes, str]) -> None:
        assert self.corpus.pictures is not None
        where = self.corpus.pictures.location(name)
        if not self.corpus.pictures.has(name):
            self._add("missing_picture", where, "")
            return
        try:
            picture = self.corpus.pictures.read(name, channels=3)
        except DataError as error:
            self._add("unreadable_picture", where, str(error).removeprefix(f"{where}: "))
            return
        key = hashlib.sha256(repr(picture.pixels.shape).encode() + picture.pixels.tobytes()).digest()
        if key in self.locations:
            self._add("duplicate_picture", where, f"is {self.locations[key]}")
        if key in held_out:
            self._add("test_picture", where, f"is {held_out[key]}")
        if picture.has_more:
            self._add("more_pictures", where, "")
        if picture.pixels.min() == picture.pixels.max():
            self._add("one_colour", where, "")
        self.locations.setdefault(key, where)

    def _add(self, kind: str, where: str, text: str) -> None:
        self._counts[kind] = self._counts.get(kind, 0) + 1
        examples = self._examples.setdefault(kind, [])
        if len(examples) < self._num_examples:
            examples.append(Example(where, text))
