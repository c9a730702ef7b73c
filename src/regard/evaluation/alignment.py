"""Word alignment: links in Pharaoh format, and the alignment error rate against a gold standard (Och & Ney 2003)."""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from regard.errors import DataError

Link = tuple[int, int]  # (source word, target word), counted from 0

_LINK = re.compile(r"(\d+)([-p])(\d+)\Z")


class Gold(NamedTuple):
    """The annotator's links of one sentence; every sure link is possible too."""

    sure: frozenset[Link]
    possible: frozenset[Link]


def parse_gold(line: str, *, first: int = 0, where: str = "gold alignment") -> Gold:
    """Read `i-j` (sure) and `ipj` (possible) links; `first` is the number that the file gives to the first word.

    Raises:
        DataError: something is not a link, or counts from a smaller number than `first`.
    """
    sure, possible = set(), set()
    for text in line.split():
        match = _LINK.match(text)
        if not match:
            raise DataError(f"{where}: {text!r} is not an alignment link; write 3-4 (sure) or 3p4 (possible)")
        link = (int(match[1]) - first, int(match[3]) - first)
        if min(link) < 0:
            raise DataError(f"{where}: {text!r} counts from {first - 1}, but words are said to be counted from {first}")
        possible.add(link)
        if match[2] == "-":
            sure.add(link)
    return Gold(frozenset(sure), frozenset(possible))


def parse_links(line: str, *, first: int = 0, where: str = "alignment") -> frozenset[Link]:
    """Read a system's links, `i-j` separated by spaces (Pharaoh format)."""
    return parse_gold(line, first=first, where=where).possible


def format_links(links: Iterable[Link]) -> str:
    """Write links in Pharaoh format, counted from 0, in order."""
    return " ".join(f"{source}-{target}" for source, target in sorted(links))


def alignment_error_rate(systems: Sequence[frozenset[Link]], golds: Sequence[Gold]) -> float:
    """AER = 1 - (|A & S| + |A & P|) / (|A| + |S|) over the whole corpus, in percent (Och & Ney 2003, eq. 21).

    Raises:
        DataError: the numbers of sentences differ, or there is not one link to judge.
    """
    if len(systems) != len(golds):
        raise DataError(f"cannot score alignments of {len(systems)} sentences against a gold standard of {len(golds)}")
    hits = sum(len(links & gold.sure) + len(links & gold.possible) for links, gold in zip(systems, golds, strict=True))
    total = sum(len(links) + len(gold.sure) for links, gold in zip(systems, golds, strict=True))
    if not total:
        raise DataError("there is not a single alignment link to score, neither proposed nor sure")
    return 100 * (1 - hits / total)
