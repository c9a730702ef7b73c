"""Learning from another model: its distribution over the next token, not only the one token that was right.

Word-level distillation: beside the cross entropy of the targets, the divergence of the student's distribution from the
teacher's at every target position (Hinton et al. 2015; for translation Kim and Rush 2016, section 3.1). Sequence-level
distillation (ibid., 3.2) needs no more than a corpus that the teacher has written: see docs/distillation.md.
"""

from functools import partial

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from regard.config.base import Config
from regard.errors import UsageError
from regard.protocol import Batch, Output
from regard.symbols import PAD
from regard.training.chunked_cross_entropy import rows_at_a_time
from regard.training.information import kl_divergence_of_logits
from regard.training.loss import Loss, sequence_loss


class TeacherConfig(Config):
    """Another model to learn from, of any kind, with the same vocabularies: the student takes them over.

    The loss of a token is (1 - weight) times its label-smoothed cross entropy plus `weight` times
    T^2 KL(teacher at T || student at T), where softmax(logits / T) is a distribution at temperature T: the higher, the
    more counts what is improbable. T^2 keeps the gradient's size (Hinton et al. 2015, section 2).
    """

    folder: str  # a model folder, relative to the working directory
    weight: float = Field(0.5, gt=0, le=1)
    temperature: float = Field(1.0, gt=0)


def distillation_loss(
    output: Output, batch: Batch, *, config: TeacherConfig, teacher: nn.Module, label_smoothing: float
) -> Loss:
    """The student's `output` on `batch`, judged by its targets and by `teacher`, which is in evaluation mode.

    The student's own penalty counts in full. `nll` is that of the targets, as without a teacher.

    Raises:
        UsageError: the teacher reads or labels in another way than the student, so that their places do not agree.
    """
    with torch.no_grad():
        told: Output = teacher(batch)
    if (told.voices, told.hidden.shape[:2]) != (output.voices, output.hidden.shape[:2]):
        raise UsageError(
            "training.teacher: teacher and student do not predict at the same places "
            f"({_places(told)} and {_places(output)} of a batch); take a teacher that does the student's task"
        )
    judged = sequence_loss(output._replace(penalty=None), batch.labels, label_smoothing=label_smoothing)
    divergence = divergence_from_teacher(output, told, batch.labels, temperature=config.temperature)
    total = (1 - config.weight) * judged.total + config.weight * divergence
    return judged._replace(total=total if output.penalty is None else total + output.penalty)


def divergence_from_teacher(
    student: Output, teacher: Output, labels: Int[Tensor, "batch target_length"], *, temperature: float
) -> Float[Tensor, ""]:
    """Sum over all labels that are not `PAD` of T^2 KL(teacher || student), both at temperature T, in nats.

    The logits of both exist a few rows at a time, and are made again for the gradient; the teacher gets none.
    """
    voices = student.voices
    real = (
        (labels.repeat(voices, 1).reshape(-1) != PAD).nonzero().squeeze(1).to(student.hidden.device, non_blocking=True)
    )
    hidden = student.hidden.flatten(0, 1).index_select(0, real)
    taught = teacher.hidden.detach().flatten(0, 1).index_select(0, real)
    rows = rows_at_a_time(hidden, student.readout.weight.size(0))
    divergence = partial(_divergence, student=student.readout, teacher=teacher.readout, temperature=temperature)
    total = hidden.new_zeros((), dtype=torch.promote_types(hidden.dtype, torch.float32))
    for part, taught_part in zip(hidden.split(rows), taught.split(rows), strict=True):
        # Nothing in it is drawn at random, so there is no generator's state to keep.
        total = total + checkpoint(divergence, part, taught_part, use_reentrant=False, preserve_rng_state=False)
    return total / voices


def _divergence(
    hidden: Tensor, taught: Tensor, *, student: nn.Linear, teacher: nn.Linear, temperature: float
) -> Tensor:
    with torch.no_grad():
        taught = teacher(taught)
        wanted = taught.to(torch.promote_types(taught.dtype, torch.float32)) / temperature
    logits = student(hidden)
    said = logits.to(torch.promote_types(logits.dtype, torch.float32)) / temperature
    return temperature**2 * kl_divergence_of_logits(wanted, said).sum()


def _places(output: Output) -> str:
    return " x ".join(map(str, output.hidden.shape[:2]))
