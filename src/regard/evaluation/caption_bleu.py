"""BLEU-1 to BLEU-4 as captioning papers report them (Papineni et al. 2002; Chen et al. 2015, section 4.2).

It differs from sacreBLEU in its tokens (`caption_tokens`) and in that a missing n-gram order is a tiny number, not 0.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence

Tokens = Sequence[str]

LONGEST = 4
# The reference scorer's guards against 0 / 0; a single caption's figure depends on them.
_TINY, _SMALL = 1e-15, 1e-9


def caption_bleu(hypotheses: Sequence[Tokens], references: Sequence[Sequence[Tokens]]) -> tuple[float, ...]:
    """BLEU-1 .. BLEU-4 of a corpus, between 0 and 1; every item has references, of which the nearest length counts."""
    correct, guessed = [0] * LONGEST, [0] * LONGEST
    length = reference_length = 0
    for hypothesis, accepted in zip(hypotheses, references, strict=True):
        length += len(hypothesis)
        reference_length += _nearest_length(hypothesis, accepted)
        for order in range(LONGEST):
            ours = ngrams(hypothesis, order + 1)
            guessed[order] += ours.total()
            correct[order] += (ours & _most(accepted, order + 1)).total()
    ratio = (length + _TINY) / (reference_length + _SMALL)
    brevity = math.exp(1 - 1 / ratio) if ratio < 1 else 1.0
    return tuple(brevity * precision for precision in _geometric_means(correct, guessed))


def ngrams(tokens: Tokens, order: int) -> Counter[tuple[str, ...]]:
    """How often every run of `order` tokens occurs."""
    return Counter(tuple(tokens[start : start + order]) for start in range(len(tokens) - order + 1))


def _nearest_length(hypothesis: Tokens, accepted: Sequence[Tokens]) -> int:
    # Of two equally near the shorter.
    return min((abs(len(reference) - len(hypothesis)), len(reference)) for reference in accepted)[1]


def _most(accepted: Sequence[Tokens], order: int) -> Counter[tuple[str, ...]]:
    """How often an n-gram occurs in the reference that has it most often."""
    most: Counter[tuple[str, ...]] = Counter()
    for reference in accepted:
        most |= ngrams(reference, order)
    return most


def _geometric_means(correct: Sequence[int], guessed: Sequence[int]) -> Iterator[float]:
    product = 1.0
    for order, (hits, tries) in enumerate(zip(correct, guessed, strict=True), 1):
        product *= (hits + _TINY) / (tries + _SMALL)
        yield product ** (1 / order)
