"""Learning from other models: their distribution over the next token, not only the one token that was right.

Word-level distillation: beside the cross entropy of the targets, the divergence of the student's distribution from the
teachers' at every target position (Hinton et al. 2015; for translation Kim and Rush 2016, section 3.1; of an ensemble,
for pronunciation, Sun et al. 2019, section 3). Sequence-level distillation (Kim and Rush, 3.2) needs no more than a
corpus that the teachers have written: see docs/distillation.md.
"""

from collections.abc import Sequence
from functools import partial

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from regard.config.base import Config
from regard.decoding.ensemble import log_mean
from regard.errors import UsageError
from regard.protocol import Batch, Output
from regard.symbols import PAD
from regard.training.chunked_cross_entropy import rows_at_a_time
from regard.training.information import kl_divergence_of_logits
from regard.training.loss import Loss, sequence_loss


class TeacherConfig(Config):
    """Other models to learn from, of any kinds, with the same vocabularies: the student takes them over.

    The loss of a token is (1 - weight) times its label-smoothed cross entropy plus `weight` times
    T^2 KL(teachers at T || student at T), where softmax(logits / T) is a distribution at temperature T: the higher, the
    more counts what is improbable. T^2 keeps the gradient's size (Hinton et al. 2015, section 2). Several teachers
    speak as one, with the mean of their probabilities at T.
    """

    folders: list[str] = Field(min_length=1)  # model folders, relative to the working directory
    weight: float = Field(0.5, gt=0, le=1)
    temperature: float = Field(1.0, gt=0)


def distillation_loss(
    output: Output, batch: Batch, *, config: TeacherConfig, teachers: Sequence[nn.Module], label_smoothing: float
) -> Loss:
    """The student's `output` on `batch`, judged by its targets and by `teachers`, which are in evaluation mode.

    The student's own penalty counts in full. `nll` is that of the targets, as without a teacher.

    Raises:
        UsageError: a teacher reads or labels in another way than the student, so that their places do not agree.
    """
    with torch.no_grad():
        told: list[Output] = [teacher(batch) for teacher in teachers]
    for theirs in told:
        if (theirs.voices, theirs.hidden.shape[:2]) != (output.voices, output.hidden.shape[:2]):
            raise UsageError(
                "training.teacher: teacher and student do not predict at the same places "
                f"({_places(theirs)} and {_places(output)} of a batch); take a teacher that does the student's task"
            )
    judged = sequence_loss(output._replace(penalty=None), batch.labels, label_smoothing=label_smoothing)
    divergence = divergence_from_teachers(output, told, batch.labels, temperature=config.temperature)
    total = (1 - config.weight) * judged.total + config.weight * divergence
    return judged._replace(total=total if output.penalty is None else total + output.penalty)


def divergence_from_teachers(
    student: Output, teachers: Sequence[Output], labels: Int[Tensor, "batch target_length"], *, temperature: float
) -> Float[Tensor, ""]:
    """Sum over all labels that are not `PAD` of T^2 KL(teachers || student), in nats.

    All are at temperature T, and the teachers' probabilities are the mean of theirs. The logits exist a few rows at a
    time, and are made again for the gradient; the teachers get none.
    """
    voices = student.voices
    real = (
        (labels.repeat(voices, 1).reshape(-1) != PAD).nonzero().squeeze(1).to(student.hidden.device, non_blocking=True)
    )
    hidden = student.hidden.flatten(0, 1).index_select(0, real)
    rows = rows_at_a_time(hidden, student.readout.weight.size(0))
    parts = [teacher.hidden.detach().flatten(0, 1).index_select(0, real).split(rows) for teacher in teachers]
    divergence = partial(
        _divergence,
        student=student.readout,
        teachers=[teacher.readout for teacher in teachers],
        temperature=temperature,
    )
    total = hidden.new_zeros((), dtype=torch.promote_types(hidden.dtype, torch.float32))
    for part, *taught in zip(hidden.split(rows), *parts, strict=True):
        # Nothing in it is drawn at random, so there is no generator's state to keep.
        total = total + checkpoint(divergence, part, taught, use_reentrant=False, preserve_rng_state=False)
    return total / voices


def _divergence(
    hidden: Tensor, taught: list[Tensor], *, student: nn.Linear, teachers: list[nn.Linear], temperature: float
) -> Tensor:
    with torch.no_grad():
        wanted = _mean_of([_at(temperature, teacher(rows)) for teacher, rows in zip(teachers, taught, strict=True)])
    return temperature**2 * kl_divergence_of_logits(wanted, _at(temperature, student(hidden))).sum()


def _at(temperature: float, logits: Tensor) -> Tensor:
    return logits.to(torch.promote_types(logits.dtype, torch.float32)) / temperature


def _mean_of(logits: list[Tensor]) -> Tensor:
    """Logits of the distribution whose probabilities are the mean of theirs."""
    if len(logits) == 1:
        return logits[0]
    return log_mean([each.log_softmax(-1) for each in logits])


def _places(output: Output) -> str:
    return " x ".join(map(str, output.hidden.shape[:2]))
