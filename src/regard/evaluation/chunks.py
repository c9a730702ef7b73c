"""Chunks of tagged words, such as names: which there are, and how many were found (Tjong Kim Sang and Buchholz 2000).

A tag is `O`, or a position and a type: `B-NP` begins a chunk, `I-NP` goes on. Read are IOB1 (a chunk may begin with I),
IOB2, and IOBES (E ends a chunk, S is one by itself), as the script `conlleval` reads them, and BILOU (L is E, U is S).
"""

from collections.abc import Sequence
from typing import NamedTuple

Chunk = tuple[str, int, int]
_BEGINS, _ENDS = frozenset("OBSU"), frozenset("ESLU")


class Counts(NamedTuple):
    """Chunks that are there, that were found, and that are both: with the same ends and the same type."""

    right: int
    found: int
    both: int

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall, 0 to 1; 1 where there is nothing and nothing was found."""
        total = self.right + self.found
        return 2 * self.both / total if total else 1.0


def chunks_of(tags: Sequence[str]) -> list[Chunk]:
    """Every chunk as (type, first word, last word), from 0."""
    found: list[Chunk] = []
    start, before = 0, ("O", "")
    for place, tag in enumerate([*tags, "O"]):
        now = _parts(tag)
        if before[0] != "O" and _parts_here(before, now):
            found.append((before[1], start, place - 1))
        if now[0] != "O" and (before[0] == "O" or _parts_here(before, now)):
            start = place
        before = now
    return found


def count_chunks(hypotheses: Sequence[Sequence[str]], references: Sequence[Sequence[str]]) -> Counts:
    """Over all sentences."""
    right = found = both = 0
    for hypothesis, reference in zip(hypotheses, references, strict=True):
        said, there = set(chunks_of(hypothesis)), set(chunks_of(reference))
        right, found, both = right + len(there), found + len(said), both + len(said & there)
    return Counts(right, found, both)


def _parts(tag: str) -> tuple[str, str]:
    """Position and type; a tag without position goes on (`NP` is `I-NP`)."""
    position, dash, kind = tag.partition("-")
    if not dash:
        return ("O", "") if tag == "O" else ("I", tag)
    return position, kind


def _parts_here(before: tuple[str, str], now: tuple[str, str]) -> bool:
    """Whether a chunk that reaches to the word before ends there."""
    return now[0] in _BEGINS or before[0] in _ENDS or before[1] != now[1]
