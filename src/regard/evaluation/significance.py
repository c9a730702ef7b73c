"""Is system B really better than system A? Paired bootstrap resampling (Koehn 2004)."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, cast

import numpy as np
from sacrebleu.significance import PairedTest, Result

from regard.errors import DataError, UsageError
from regard.evaluation.metrics import (
    ITEM_METRICS,
    SACREBLEU_METRICS,
    References,
    caption_values,
    character_errors,
    gleu_values,
    phoneme_errors,
    reference_streams,
    sacrebleu_metric,
    word_errors,
)


def _right(hypotheses: Sequence[str], references: References) -> list[tuple[int, int]]:
    return [(total - wrong, total) for wrong, total in word_errors(hypotheses, references)]


def _out_of_one(
    values: Callable[[Sequence[str], References], list[float]], hypotheses: Sequence[str], references: References
) -> list[tuple[float, int]]:
    return [(value, 1) for value in values(hypotheses, references)]


# What a corpus's value is made of: sum of the first numbers over sum of the second, the items being summed.
_RATIOS: dict[str, Callable[[Sequence[str], References], Sequence[tuple[float, int]]]] = {
    "wer": word_errors,
    "per": phoneme_errors,
    "cer": character_errors,
    "accuracy": _right,
    "gleu": partial(_out_of_one, gleu_values),
    **{name: partial(_out_of_one, partial(caption_values, name)) for name in ITEM_METRICS},
}
TESTED = (*SACREBLEU_METRICS, *_RATIOS)


class Interval(NamedTuple):
    """A corpus value and its 95 % confidence interval, `half_width` to both sides."""

    value: float
    half_width: float
    signature: str


class Comparison(NamedTuple):
    """The two corpus values, and how often chance alone would set them as far apart."""

    metric: str
    baseline: float
    system: float
    p_value: float
    num_samples: int


def bleu_interval(hypotheses: Sequence[str], references: References, *, num_samples: int = 1000) -> Interval:
    """BLEU with the interval of sacreBLEU's bootstrap, which draws the same samples every time."""
    metric = sacrebleu_metric("bleu")
    test = PairedTest(
        [("system", list(hypotheses))],
        {"bleu": metric},
        reference_streams(references),
        test_type="bs",
        n_samples=num_samples,
    )
    signatures, results = test()
    (result,) = cast(list[Result], next(scores for name, scores in results.items() if name != "System"))
    (signature,) = signatures.values()
    return Interval(result.score, float(result.ci or 0.0), str(signature))


def check_tested(metrics: Sequence[str]) -> None:
    """Accept metrics of which two systems can be compared.

    Raises:
        UsageError: there is no test for one of them.
    """
    if untested := [name for name in metrics if name not in TESTED]:
        raise UsageError(f"no paired test for the metric {', '.join(untested)}; choose from {', '.join(TESTED)}")


def paired_bootstrap(
    metric: str,
    baseline: Sequence[str],
    system: Sequence[str],
    references: References,
    *,
    num_samples: int = 1000,
    seed: int = 12345,
) -> Comparison:
    """Compare two systems' outputs on the same items, resampling the items.

    BLEU and chrF are sacreBLEU's own test. For shares, and for captions' values (CIDEr's document frequencies
    are kept), the null distribution is the resampled difference moved to mean zero (two-sided), as sacreBLEU does it.

    Raises:
        DataError: the numbers of items differ.
        UsageError: the metric is unknown.
    """
    if not len(baseline) == len(system) == len(references):
        raise DataError(
            f"a paired test needs the same items: {len(baseline)} baseline outputs, {len(system)} system outputs, "
            f"{len(references)} references"
        )
    if metric in _RATIOS:
        return _ratios(metric, baseline, system, references, num_samples, seed)
    check_tested([metric])
    return _sacrebleu(metric, baseline, system, references, num_samples)


def _ratios(
    metric: str, baseline: Sequence[str], system: Sequence[str], references: References, num_samples: int, seed: int
) -> Comparison:
    counts = np.array([_RATIOS[metric](outputs, references) for outputs in (baseline, system)], dtype=np.float64)
    draw = np.random.default_rng(seed).integers(0, len(references), (num_samples, len(references)))
    sums = counts[:, draw].sum(axis=2)  # (systems, samples, [sum of values, total])
    # A sample may hold empty references alone, as the whole set may: out of 0 is out of 1, as the metrics have it.
    rates = 100 * sums[..., 0] / np.maximum(sums[..., 1], 1)
    whole = 100 * counts[..., 0].sum(1) / np.maximum(counts[..., 1].sum(1), 1)
    differences = np.abs(rates[1] - rates[0] - (rates[1] - rates[0]).mean())
    extreme = int((differences >= abs(whole[1] - whole[0])).sum())
    return Comparison(metric, float(whole[0]), float(whole[1]), (extreme + 1) / (num_samples + 1), num_samples)


def _sacrebleu(
    metric: str, baseline: Sequence[str], system: Sequence[str], references: References, num_samples: int
) -> Comparison:
    test = PairedTest(
        [("baseline", list(baseline)), ("system", list(system))],
        {metric: sacrebleu_metric(metric)},
        reference_streams(references),
        test_type="bs",
        n_samples=num_samples,
    )
    _signatures, results = test()
    first, second = cast(list[Result], next(scores for name, scores in results.items() if name != "System"))
    # sacreBLEU counts samples strictly above the real difference, so equal systems would come out as significant.
    p_value = 1.0 if first.score == second.score else float(second.p_value or 0.0)
    return Comparison(metric, first.score, second.score, p_value, num_samples)
