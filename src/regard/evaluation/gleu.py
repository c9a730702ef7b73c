"""GLEU, a BLEU for single sentences, made to be a reward (Wu et al. 2016, section 3.5)."""

from collections import Counter
from collections.abc import Hashable, Sequence

_LONGEST = 4


def sentence_gleu(hypothesis: Sequence[Hashable], reference: Sequence[Hashable]) -> float:
    """The smaller of precision and recall over all 1- to 4-grams together: between 0 and 1, and symmetric.

    Two empty sequences agree entirely: 1.
    """
    ours, theirs = _ngrams(hypothesis), _ngrams(reference)
    most = max(ours.total(), theirs.total())
    return (ours & theirs).total() / most if most else 1.0


def _ngrams(tokens: Sequence[Hashable]) -> Counter[tuple[Hashable, ...]]:
    return Counter(
        tuple(tokens[start : start + length])
        for length in range(1, _LONGEST + 1)
        for start in range(len(tokens) - length + 1)
    )
