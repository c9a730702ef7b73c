"""Two passes over a batch, with different units dropped out, should say the same (R-Drop, Liang et al. 2021).

Dropout trains many thinned networks and uses their mean. With few examples and many epochs they come to
disagree in what they made up; paying for that helps where more dropout does not (docs/distillation.md).
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from regard.protocol import Batch, Output
from regard.symbols import PAD
from regard.training.chunked_cross_entropy import rows_at_a_time
from regard.training.information import jeffreys_divergence_of_logits
from regard.training.loss import Loss, sequence_loss
from regard.training.recomputed import sum_of_rows


def twice(batch: Batch) -> Batch:
    """Every example two times, the whole batch after the whole batch: one pass drops out other units in each."""
    return Batch(*(None if part is None else torch.cat([part, part]) for part in batch))  # type: ignore[arg-type]


def consistency_loss(
    output: Output, labels: Int[Tensor, "batch target_length"], *, weight: float, label_smoothing: float
) -> Loss:
    """What a model says of `twice(batch)`, judged by `labels`, which stand there once, and by its two halves' distance.

    The mean of both label-smoothed cross entropies, plus `weight` / 4 times KL(p || q) + KL(q || p) of the two
    distributions at every label: half of the paper's equation 3, so that `weight` is its alpha and a rate that suited
    one pass suits two. A model's own penalty, a sum over both halves, counts half.
    """
    halves = output._replace(voices=2 * output.voices, penalty=None if output.penalty is None else output.penalty / 2)
    judged = sequence_loss(halves, labels, label_smoothing=label_smoothing)
    return judged._replace(total=judged.total + weight / 4 * disagreement(output, labels))


def disagreement(output: Output, labels: Int[Tensor, "batch target_length"]) -> Float[Tensor, ""]:
    """Sum over all labels that are not `PAD` of KL(p || q) + KL(q || p) between both passes, in nats.

    Of a model with several voices it is their mean. The logits exist a few rows at a time, and are made again for the
    gradient, which both passes get.
    """
    real = (labels.reshape(-1) != PAD).nonzero().squeeze(1).to(output.hidden.device, non_blocking=True)
    passes = output.hidden.unflatten(0, (output.voices, 2, -1)).flatten(2, 3)
    first, second = passes.index_select(2, real).transpose(0, 1).flatten(1, 2)
    rows = max(1, rows_at_a_time(first, output.readout.weight.size(0)) // 2)
    return sum_of_rows(_disagreement, first, second, output.readout, rows=rows) / output.voices


def _disagreement(one: Tensor, other: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    logits = functional.linear(torch.cat([one, other]), weight, bias)
    p, q = logits.to(torch.promote_types(logits.dtype, torch.float32)).chunk(2)
    return jeffreys_divergence_of_logits(p, q).sum()
