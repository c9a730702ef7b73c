"""Corpus metrics: BLEU, chrF, GLEU, those of captions, error rates, accuracy and F1, each with a signature.

An item may have any number of references; BLEU, chrF and CIDEr use all of them, an error rate the nearest.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from rapidfuzz.distance import Levenshtein
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a

from regard.errors import DataError
from regard.evaluation.caption_bleu import LONGEST, caption_bleu
from regard.evaluation.caption_tokens import caption_tokens
from regard.evaluation.chunks import count_chunks
from regard.evaluation.cider import cider, cider_d
from regard.evaluation.gleu import sentence_gleu
from regard.evaluation.meteor_like import meteor_like
from regard.evaluation.rouge import rouge_l

References = Sequence[Sequence[str]]


class Metric(NamedTuple):
    """A measured value in percent (perplexity excepted), with all that is needed to measure it again."""

    name: str
    value: float
    signature: str
    higher_is_better: bool


# SacreBLEU's tokenizers that need no further package and no download; `bleu:none` is for text tokenised already.
BLEU_TOKENIZERS = {"bleu": "13a", **{f"bleu:{name}": name for name in ("none", "intl", "char", "zh")}}
SACREBLEU_METRICS = (*BLEU_TOKENIZERS, "chrf")


def bleu(hypotheses: Sequence[str], references: References) -> Metric:
    """SacreBLEU (Papineni et al. 2002; Post 2018) on plain, detokenised text."""
    return _sacrebleu("bleu", hypotheses, references)


def chrf(hypotheses: Sequence[str], references: References) -> Metric:
    """ChrF2: character n-gram F-score (Popovic 2015)."""
    return _sacrebleu("chrf", hypotheses, references)


def sacrebleu_metric(name: str) -> BLEU | CHRF:
    """SacreBLEU's object for `bleu`, `bleu:TOKENIZER` or `chrf`.

    Raises:
        KeyError: it is none of these.
    """
    if name == "chrf":
        return CHRF()
    tokenizer = BLEU_TOKENIZERS[name]
    return BLEU(tokenize=tokenizer, force=tokenizer == "none")


def _sacrebleu(name: str, hypotheses: Sequence[str], references: References) -> Metric:
    metric = sacrebleu_metric(name)
    value = metric.corpus_score(list(hypotheses), reference_streams(references)).score
    return Metric(name, value, str(metric.get_signature()), higher_is_better=True)


def gleu_values(hypotheses: Sequence[str], references: References) -> list[float]:
    """Sentence GLEU (Wu et al. 2016, 3.5) of every item with its nearest reference, over sacreBLEU's 13a tokens."""
    split = Tokenizer13a()  # type: ignore[no-untyped-call]
    return [
        max(sentence_gleu(split(hypothesis).split(), split(reference).split()) for reference in accepted)
        for hypothesis, accepted in zip(hypotheses, references, strict=True)
    ]


def mean_gleu(hypotheses: Sequence[str], references: References) -> Metric:
    """Mean of `gleu_values`, in per cent."""
    values = gleu_values(hypotheses, references)
    return Metric("gleu", 100 * sum(values) / len(values), "unit:item|tok:13a|refs:nearest", higher_is_better=True)


def caption_values(name: str, hypotheses: Sequence[str], references: References) -> list[float]:
    """One of `ITEM_METRICS` for every item, over `caption_tokens`; the mean of the items is the corpus's value."""
    words = [caption_tokens(hypothesis) for hypothesis in hypotheses]
    return ITEM_METRICS[name](words, [list(map(caption_tokens, accepted)) for accepted in references])


def _caption_mean(name: str, hypotheses: Sequence[str], references: References) -> Metric:
    values = caption_values(name, hypotheses, references)
    return Metric(name, 100 * sum(values) / len(values), "unit:item|tok:ptb|case:lc|refs:all", higher_is_better=True)


def _caption_bleu(order: int, hypotheses: Sequence[str], references: References) -> Metric:
    """Captioning's BLEU of n-grams up to `order`."""
    words = [caption_tokens(hypothesis) for hypothesis in hypotheses]
    values = caption_bleu(words, [list(map(caption_tokens, accepted)) for accepted in references])
    signature = "tok:ptb|case:lc|refs:nearest-length"
    return Metric(f"bleu-{order}", 100 * values[order - 1], signature, higher_is_better=True)


def reference_streams(references: References) -> list[list[Any]]:
    """Transpose to sacreBLEU's layout; an item with fewer references than others has None in the later streams."""
    num_streams = max(map(len, references))
    return [[item[k] if k < len(item) else None for item in references] for k in range(num_streams)]


def word_error_rate(hypotheses: Sequence[str], references: References) -> Metric:
    """Share of items that equal none of their references: the WER of pronunciation papers, an item being a word."""
    return _rate("wer", word_errors(hypotheses, references), "unit:item|refs:any-of")


def phoneme_error_rate(hypotheses: Sequence[str], references: References) -> Metric:
    """Edit distance over whitespace-separated symbols to the nearest reference, per reference symbol."""
    counts = phoneme_errors(hypotheses, references)
    return _rate("per", counts, "unit:symbol|refs:nearest")


def character_error_rate(hypotheses: Sequence[str], references: References) -> Metric:
    """Edit distance over characters (code points) to the nearest reference, per reference character."""
    counts = character_errors(hypotheses, references)
    return _rate("cer", counts, "unit:character|refs:nearest")


def accuracy(hypotheses: Sequence[str], references: References) -> Metric:
    """Share of items that are one of their references: of labels, those that are right."""
    wrong, total = (sum(counts) for counts in zip(*word_errors(hypotheses, references), strict=True))
    return Metric("accuracy", 100 * (total - wrong) / total, "unit:item|refs:any-of", higher_is_better=True)


def tag_accuracy(hypotheses: Sequence[str], references: References) -> Metric:
    """Share of words whose tag is that of the first reference; of a hypothesis that is too short, the rest is wrong."""
    pairs = [(said.split(), right[0].split()) for said, right in zip(hypotheses, references, strict=True)]
    right = sum(one == other for said, tags in pairs for one, other in zip(said, tags, strict=False))
    total = sum(len(tags) for _, tags in pairs)
    return Metric("tag_accuracy", 100 * right / max(total, 1), "unit:word|refs:first", higher_is_better=True)


def chunk_f1(hypotheses: Sequence[str], references: References) -> Metric:
    """F1 of chunks in tags such as `B-NP I-NP O`, over the whole corpus (CoNLL 2000): type and both ends must agree."""
    counts = count_chunks([text.split() for text in hypotheses], [accepted[0].split() for accepted in references])
    return Metric("f1", 100 * counts.f1, "unit:chunk|tags:iob1+iob2+iobes|mean:micro|refs:first", higher_is_better=True)


def word_errors(hypotheses: Sequence[str], references: References) -> list[tuple[int, int]]:
    """For each item: 1 where no reference is met, else 0; out of 1. White space between symbols does not count."""
    return [
        (int(hypothesis.split() not in [reference.split() for reference in accepted]), 1)
        for hypothesis, accepted in zip(hypotheses, references, strict=True)
    ]


def phoneme_errors(hypotheses: Sequence[str], references: References) -> list[tuple[int, int]]:
    """For each item: edits to the nearest reference, and that reference's number of symbols."""
    return [
        _nearest(hypothesis.split(), [reference.split() for reference in accepted])
        for hypothesis, accepted in zip(hypotheses, references, strict=True)
    ]


def character_errors(hypotheses: Sequence[str], references: References) -> list[tuple[int, int]]:
    """For each item: edits to the nearest reference, and that reference's number of characters."""
    return [_nearest(hypothesis, list(accepted)) for hypothesis, accepted in zip(hypotheses, references, strict=True)]


def _nearest(hypothesis: Sequence[str], accepted: Sequence[Sequence[str]]) -> tuple[int, int]:
    # Of equally near references the longest, as scoring tools for speech do: it makes the rate no worse.
    distances = [(Levenshtein.distance(hypothesis, reference), -len(reference)) for reference in accepted]
    distance, negative_length = min(distances)
    return distance, -negative_length


def _rate(name: str, counts: Sequence[tuple[int, int]], signature: str) -> Metric:
    errors, total = sum(item[0] for item in counts), sum(item[1] for item in counts)
    return Metric(name, 100 * errors / max(total, 1), f"{signature}|edits:levenshtein", higher_is_better=False)


def _each(score: Callable[[Sequence[str], Sequence[Sequence[str]]], float]) -> Callable[..., list[float]]:
    """A score of one item, applied to all."""
    return lambda hypotheses, references: list(map(score, hypotheses, references))


# Of tokenised captions; `cider-d` is what papers on captions print as CIDEr.
ITEM_METRICS: dict[str, Callable[..., list[float]]] = {
    "rouge-l": _each(rouge_l),
    "cider-d": cider_d,
    "cider": cider,
    "meteor-like": _each(meteor_like),
}

METRICS: dict[str, Callable[[Sequence[str], References], Metric]] = {
    **{name: partial(_sacrebleu, name) for name in SACREBLEU_METRICS},
    "gleu": mean_gleu,
    "wer": word_error_rate,
    "per": phoneme_error_rate,
    "cer": character_error_rate,
    "accuracy": accuracy,
    "tag_accuracy": tag_accuracy,
    "f1": chunk_f1,
    **{f"bleu-{order}": partial(_caption_bleu, order) for order in range(1, LONGEST + 1)},
    **{name: partial(_caption_mean, name) for name in ITEM_METRICS},
}


def evaluate(names: Sequence[str], hypotheses: Sequence[str], references: References) -> list[Metric]:
    """Measure the named metrics.

    Raises:
        DataError: there is nothing to measure, or the numbers of hypotheses and references differ.
    """
    if not hypotheses or len(hypotheses) != len(references):
        raise DataError(
            f"cannot evaluate {len(hypotheses)} hypotheses against {len(references)} references: "
            "give one reference item for every hypothesis, and at least one"
        )
    return [METRICS[name](hypotheses, references) for name in names]
