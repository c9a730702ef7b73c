"""A METEOR-like score: METEOR's formula on words that are equal or begin alike, without its lists of synonyms.

METEOR 1.5 (Denkowski and Lavie 2014) also matches stems, WordNet synonyms and paraphrases, from tables of a gigabyte
that only its Java program reads. So these values are not METEOR's and are never to be printed as METEOR; how nearly
they follow it is measured by benchmarks/caption_metrics.py.
"""

from collections.abc import Sequence
from itertools import pairwise

from rapidfuzz.distance import Prefix

# METEOR 1.5's parameters for English (its section 4, table 2).
_ALPHA, _BETA, _GAMMA, _DELTA = 0.85, 0.2, 0.6, 0.75
_SAME_STEM = 0.6  # the weight of a pair that is not equal but begins alike
_SHORTEST_STEM, _LONGEST_ENDING = 3, 3
# They say little of a picture, so they count a third. English only: in another language all words count alike.
_FUNCTION_WORDS = frozenset(
    "a an the this that these those his her its their our my your he she it we they you i who which what "  # noqa: SIM905
    "in on of at by to for from with as into up out over and or but while if not no n't so "
    "is are was were be been being am has have had having do does did can will 's there all".split()
)

Pair = tuple[int, int, float]  # place here, place there, how alike


def meteor_like(hypothesis: Sequence[str], accepted: Sequence[Sequence[str]]) -> float:
    """The best over the references of F(precision, recall) * (1 - gamma * fragmentation^beta); 0 .. 1."""
    return max(_score(hypothesis, reference) for reference in accepted)


def _score(hypothesis: Sequence[str], reference: Sequence[str]) -> float:
    pairs = _match(hypothesis, reference)
    if not pairs:
        return 0.0
    precision = sum(alike * _weight(hypothesis[here]) for here, _, alike in pairs) / sum(map(_weight, hypothesis))
    recall = sum(alike * _weight(reference[there]) for _, there, alike in pairs) / sum(map(_weight, reference))
    mean = precision * recall / (_ALPHA * precision + (1 - _ALPHA) * recall)
    chunks = _num_chunks(pairs)
    whole = chunks == 1 and len(pairs) == len(hypothesis) == len(reference)
    fragmentation = 0.0 if whole else chunks / len(pairs)
    return mean * (1 - _GAMMA * fragmentation**_BETA)


def _weight(word: str) -> float:
    return 1 - _DELTA if word in _FUNCTION_WORDS else _DELTA


def _match(hypothesis: Sequence[str], reference: Sequence[str]) -> list[Pair]:
    """Take the longest run of equal words, then the longest of what is left, and so on: few chunks, if not the fewest.

    Words that are merely alike come after all equal ones, so that no equal pair is lost to them.
    """
    here, there = [True] * len(hypothesis), [True] * len(reference)  # what is still free
    pairs = list[Pair]()
    for alike in (1.0, _SAME_STEM):
        while True:
            first, second, length = _longest_run(hypothesis, reference, here, there, exact=alike == 1)
            if not length:
                break
            here[first : first + length] = there[second : second + length] = [False] * length
            pairs += [(first + step, second + step, alike) for step in range(length)]
    return sorted(pairs)


def _num_chunks(pairs: Sequence[Pair]) -> int:
    """In how many unbroken runs the pairs lie."""
    joints = sum(after[:2] == (before[0] + 1, before[1] + 1) for before, after in pairwise(pairs))
    return len(pairs) - joints


def _longest_run(
    hypothesis: Sequence[str], reference: Sequence[str], here: Sequence[bool], there: Sequence[bool], *, exact: bool
) -> tuple[int, int, int]:
    """(start here, start there, length) of the longest run of free alike words; length 0 where there is none."""
    best = (0, 0, 0)
    runs = [0] * (len(reference) + 1)  # runs[j + 1]: the run that ends at the last word and at reference[j]
    for i, word in enumerate(hypothesis):
        before, runs = runs, [0] * (len(reference) + 1)
        for j, other in enumerate(reference):
            if here[i] and there[j] and (word == other if exact else _begin_alike(word, other)):
                runs[j + 1] = length = before[j] + 1
                best = max(best, (i - length + 1, j - length + 1, length), key=lambda run: run[2])
    return best


def _begin_alike(word: str, other: str) -> bool:
    """Three letters or more begin both, and at most three follow: plays, playing."""
    shared = Prefix.similarity(word, other)
    return shared >= _SHORTEST_STEM and max(len(word), len(other)) - shared <= _LONGEST_ENDING
