"""What is usual in a corpus, learnt in one pass, and what is unusual in one of its pairs.

Memory does not grow with the texts: 16 bytes a pair for the hashes that find duplicates, and samples of bounded size.
"""

import math
import re
from array import array
from collections import Counter
from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from regard.data.corpus_base import Pair
from regard.data.script import script_of
from regard.data.text import is_blank

_MOST_LENGTHS = 1_000_000
_MOST_PAIRS_FOR_WORDS = 200_000
_FEWEST_FOR_OUTLIERS = 100
_DAMAGE = re.compile("\ufffd")
_MOJIBAKE = re.compile("[\u00c3][\u00a0-\u00bf]|\u00e2\u20ac|[\u00c2][\u00a1-\u00bf]")  # UTF-8 once read as Latin-1


class Survey:
    """Counts over all pairs of a corpus: hashes, lengths, scripts, characters and words of each side."""

    def __init__(self) -> None:
        self.num_lines = 0
        self.num_pairs = 0
        self.characters: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
        self.words: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
        self.scripts: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
        self._hashes = (array("q"), array("q"))
        self._lengths = (array("l"), array("l"))

    def add(self, pair: Pair) -> None:
        """Count one pair."""
        self.num_pairs += 1
        self._hashes[0].append(hash(pair))
        self._hashes[1].append(hash(pair.source))
        for side, text in enumerate(pair):
            self.characters[side].update(set(text))
            if (script := script_of(text)) is not None:
                self.scripts[side][script] += 1
            if self.num_pairs <= _MOST_LENGTHS:
                self._lengths[side].append(len(text))
            if self.num_pairs <= _MOST_PAIRS_FOR_WORDS:
                self.words[side].update(text.lower().split())

    def main_script(self, side: int) -> str | None:
        """The script of nine lines in ten; None where there is no such script."""
        scripts = self.scripts[side]
        script, number = scripts.most_common(1)[0] if scripts else (None, 0)
        return script if number >= 0.9 * scripts.total() else None

    def rare_characters(self, side: int, fewer_than: int = 3) -> set[str]:
        """Characters, but spaces, that stand in fewer lines than these."""
        return {
            letter for letter, lines in self.characters[side].items() if lines < fewer_than and not letter.isspace()
        }

    def repeated_pairs(self) -> set[int]:
        """Hashes of the pairs that come more than once."""
        return _repeated(np.frombuffer(self._hashes[0], dtype=np.int64))

    def ambiguous_sources(self) -> set[int]:
        """Hashes of the sources that come with different targets."""
        pairs, sources = (np.frombuffer(hashes, dtype=np.int64) for hashes in self._hashes)
        if not len(pairs):
            return set()
        return _repeated(sources[np.unique(pairs, return_index=True)[1]])

    def lengths(self) -> NDArray[np.int64]:
        """Characters of sources (row 0) and targets (row 1), of the first million pairs."""
        return np.stack([np.asarray(lengths, dtype=np.int64) for lengths in self._lengths])


class HeldOut:
    """The pairs of validation and test sets, to be found in the training data whatever their case and spaces."""

    def __init__(self) -> None:
        self._pairs: dict[int, str] = {}
        self._sources: dict[int, str] = {}

    def add(self, pair: Pair, location: str) -> None:
        """Remember where a pair stands."""
        source, target = map(_folded, pair)
        self._pairs.setdefault(hash((source, target)), location)
        self._sources.setdefault(hash(source), location)

    def find(self, pair: Pair) -> tuple[str, str] | None:
        """`test_pair` or `test_source`, and where it stands; None for a pair of which neither is held out."""
        if not self._sources or (location := self._sources.get(hash(source := _folded(pair.source)))) is None:
            return None
        whole = self._pairs.get(hash((source, _folded(pair.target))))
        return ("test_source", location) if whole is None else ("test_pair", whole)


class Judge:
    """Says what is unusual in a pair. It sees the pairs in order, so that the first of equal ones is none too many."""

    def __init__(
        self, survey: Survey, held_out: HeldOut, *, has_source: bool = True, not_faults: Collection[str] = ()
    ) -> None:
        """`has_source` and `not_faults` are those of the corpus."""
        self._held_out = held_out
        self._has_source, self._not_faults = has_source, not_faults
        self._repeated = survey.repeated_pairs()
        self._ambiguous = survey.ambiguous_sources()
        self._seen: set[int] = set()
        self._scripts = (survey.main_script(0), survey.main_script(1))
        self._most_lengths, self._ratio, self._widest = _usual_lengths(survey.lengths())
        self._languages = _Languages(*survey.words) if survey.num_pairs >= _FEWEST_FOR_OUTLIERS else None

    def faults(self, pair: Pair) -> list[tuple[str, str]]:
        """The kind of each fault (see `regard.data.doctor.KINDS`) and, where it has one, a remark."""
        return [fault for fault in self._all_faults(pair) if fault[0] not in self._not_faults]

    def _all_faults(self, pair: Pair) -> list[tuple[str, str]]:
        blank = [self._has_source and is_blank(pair.source), is_blank(pair.target)]
        if any(blank):
            return [("empty", "both sides" if all(blank) else "source" if blank[0] else "target")]
        faults = []
        if hash(pair) in self._repeated:
            if hash(pair) in self._seen:
                faults.append(("duplicate", ""))
            self._seen.add(hash(pair))
        if hash(pair.source) in self._ambiguous:
            faults.append(("ambiguous_source", ""))
        if (found := self._held_out.find(pair)) is not None:
            faults.append((found[0], f"is {found[1]}"))
        if pair.source == pair.target:
            faults.append(("identical", ""))
        elif self._languages is not None and (fault := self._languages.fault(pair)) is not None:
            faults.append((fault, ""))
        return faults + self._odd_lengths(pair) + self._odd_characters(pair)

    def _odd_lengths(self, pair: Pair) -> list[tuple[str, str]]:
        faults = []
        longest = max(len(text) / most for text, most in zip(pair, self._most_lengths, strict=True))
        if longest > 1:
            faults.append(("length", f"{max(map(len, pair)):,} characters"))
        if abs(_log_ratio(len(pair.source), len(pair.target)) - self._ratio) > self._widest:
            faults.append(("ratio", f"{len(pair.source):,} against {len(pair.target):,} characters"))
        return faults

    def _odd_characters(self, pair: Pair) -> list[tuple[str, str]]:
        faults = []
        for text, usual in zip(pair, self._scripts, strict=True):
            if usual is not None and (script := script_of(text)) not in (usual, None):
                faults.append(("script", f"{str(script).lower()} among {usual.lower()}"))
            if not text.isascii():
                if _DAMAGE.search(text):
                    faults.append(("replacement", ""))
                if _MOJIBAKE.search(text):
                    faults.append(("mojibake", ""))
        return faults


class _Languages:
    """How much more often each word stands on one side than on the other."""

    def __init__(self, source: Counter[str], target: Counter[str]) -> None:
        self._weights: dict[str, float] = {}
        totals = source.total() + 1.0, target.total() + 1.0
        for word in source.keys() | target.keys():
            if source[word] + target[word] >= 5:
                self._weights[word] = math.log((source[word] + 0.5) / totals[0] * totals[1] / (target[word] + 0.5))

    def fault(self, pair: Pair) -> str | None:
        """`swapped` where each side has the words of the other, `language` where only one has."""
        source, target = self._weight(pair.source), -self._weight(pair.target)
        if source < -2.0 and target < -2.0 and source + target < -8.0:
            return "swapped"
        return "language" if min(source, target) < -12.0 and max(source, target) > 0 else None

    def _weight(self, text: str) -> float:
        return sum((self._weights.get(word, 0.0) for word in text.lower().split()), 0.0)


def letters_of(characters: Collection[str]) -> re.Pattern[str] | None:
    """A pattern for any one of the characters; None for none."""
    return re.compile("[" + "".join(map(re.escape, sorted(characters))) + "]") if characters else None


def _repeated(values: NDArray[np.int64]) -> set[int]:
    ordered = np.sort(values)
    return set(np.unique(ordered[1:][ordered[1:] == ordered[:-1]]).tolist())


def _usual_lengths(lengths: NDArray[np.int64]) -> tuple[tuple[float, float], float, float]:
    """The most characters a side usually has, the usual log ratio of the sides, and how far from it is still usual."""
    if lengths.shape[1] < _FEWEST_FOR_OUTLIERS:
        return (math.inf, math.inf), 0.0, math.inf
    most = [max(100.0, 3.0 * float(np.quantile(side, 0.99))) for side in lengths]
    ratios = _log_ratios(lengths)
    middle = float(np.median(ratios))
    spread = 1.4826 * float(np.median(np.abs(ratios - middle)))  # a standard deviation, were they normal
    return (most[0], most[1]), middle, max(math.log(2.5), 6.0 * spread)


def _log_ratio(source: int, target: int) -> float:
    return math.log((source + 10) / (target + 10))  # 10: "Hi" and "Guten Tag" are nothing unusual


def _log_ratios(lengths: NDArray[np.int64]) -> NDArray[np.float64]:
    ratios: NDArray[np.float64] = np.log((lengths[0] + 10) / (lengths[1] + 10))
    return ratios


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())
