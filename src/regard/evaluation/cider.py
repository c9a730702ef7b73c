"""CIDEr: consensus with the references in TF-IDF-weighted n-grams, and its robust form CIDEr-D (Vedantam et al. 2015).

What papers print as "CIDEr" is CIDEr-D: it clips what a caption repeats and punishes a wrong length.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from regard.evaluation.caption_bleu import LONGEST, Tokens, ngrams

_SIGMA = 6.0  # how far lengths may differ, in words (section 6)

Vector = dict[tuple[str, ...], float]


class _Caption(NamedTuple):
    """g^n of every order n with its norm, and the length that CIDEr-D compares."""

    vectors: list[Vector]
    norms: list[float]
    length: int


def cider_d(hypotheses: Sequence[Tokens], references: Sequence[Sequence[Tokens]]) -> list[float]:
    """CIDEr-D of every item (equations 4 to 6 with section 6), at most 10; its mean is that of the corpus.

    The document frequencies are those of `references`, an item being a document: so a value belongs to its test set.
    """
    return _cider(hypotheses, references, robust=True)


def cider(hypotheses: Sequence[Tokens], references: Sequence[Sequence[Tokens]]) -> list[float]:
    """Plain CIDEr of every item (equations 1 to 3), on unstemmed words, times 10 as CIDEr-D is; at most 10."""
    return _cider(hypotheses, references, robust=False)


def _cider(hypotheses: Sequence[Tokens], references: Sequence[Sequence[Tokens]], *, robust: bool) -> list[float]:
    frequencies = _document_frequencies(references)
    log_documents = math.log(len(references))
    values = []
    for hypothesis, accepted in zip(hypotheses, references, strict=True):
        ours = _caption(hypothesis, frequencies, log_documents)
        theirs = [_caption(reference, frequencies, log_documents) for reference in accepted]
        similarity = sum(_similarity(ours, reference, robust=robust) for reference in theirs)
        values.append(10 * similarity / len(theirs))
    return values


def _document_frequencies(references: Iterable[Sequence[Tokens]]) -> Counter[tuple[str, ...]]:
    """In how many items' references an n-gram occurs at all."""
    frequencies: Counter[tuple[str, ...]] = Counter()
    for accepted in references:
        frequencies.update({gram for tokens in accepted for order in _orders() for gram in ngrams(tokens, order)})
    return frequencies


def _caption(tokens: Tokens, frequencies: Counter[tuple[str, ...]], log_documents: float) -> _Caption:
    vectors = [
        {gram: count * (log_documents - math.log(max(1, frequencies[gram]))) for gram, count in counts.items()}
        for counts in (ngrams(tokens, order) for order in _orders())
    ]
    norms = [math.sqrt(sum(value * value for value in vector.values())) for vector in vectors]
    return _Caption(vectors, norms, max(0, len(tokens) - 1))


def _similarity(ours: _Caption, theirs: _Caption, *, robust: bool) -> float:
    """Mean over the orders of the cosine, in the robust form of what is in both, times a Gaussian of the lengths."""
    total = 0.0
    for vector, reference, *norms in zip(ours.vectors, theirs.vectors, ours.norms, theirs.norms, strict=True):
        shared = vector.keys() & reference.keys()
        product = sum((min(vector[g], reference[g]) if robust else vector[g]) * reference[g] for g in shared)
        total += product / math.prod(norms) if all(norms) else 0.0
    if robust:
        total *= math.exp(-((ours.length - theirs.length) ** 2) / (2 * _SIGMA**2))
    return total / LONGEST


def _orders() -> range:
    return range(1, LONGEST + 1)
