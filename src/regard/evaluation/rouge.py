"""ROUGE-L: the longest common subsequence with the references (Lin 2004, section 3), with captioning's beta."""

from collections.abc import Sequence

from rapidfuzz.distance import LCSseq

_BETA = 1.2  # recall counts that many times as much as precision (Chen et al. 2015, section 4.3)


def rouge_l(hypothesis: Sequence[str], accepted: Sequence[Sequence[str]]) -> float:
    """F-measure of the best precision and the best recall, which may be those of two references; 0 .. 1."""
    lengths = [(LCSseq.similarity(hypothesis, reference), len(reference)) for reference in accepted]
    precision = max(common / max(1, len(hypothesis)) for common, _ in lengths)
    recall = max(common / max(1, length) for common, length in lengths)
    if not precision or not recall:
        return 0.0
    return (1 + _BETA**2) * precision * recall / (recall + _BETA**2 * precision)
