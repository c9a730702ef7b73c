"""Two passes over a batch, with different units dropped out, should say the same (R-Drop, Liang et al. 2021).

Dropout trains many thinned networks and uses their mean. With few examples and many epochs they come to
disagree in what they made up; paying for that helps where more dropout does not (docs/distillation.md).
"""

import torch
from jaxtyping import Int
from torch import Tensor

from regard.protocol import Batch, Output
from regard.training.loss import Loss, sequence_loss


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
    passes = output.hidden.unflatten(0, (output.voices, 2, -1))
    side_by_side = passes.movedim(1, 3).flatten(2, 3).flatten(0, 1)  # every place, then its double
    both = sequence_loss(
        output._replace(hidden=side_by_side),
        labels.repeat_interleave(2, 1),
        label_smoothing=label_smoothing,
        disagreement=weight / 2,
    )
    return Loss(both.total / 2, both.nll / 2, both.num_tokens // 2)
