"""What is minimised: the likelihood of the targets, alone or beside teachers or its own double; or expected reward."""

from collections.abc import Iterator, Sequence
from typing import Literal

from torch import nn

from regard.evaluation.flops import forward_flops, training_flops
from regard.protocol import Batch
from regard.training.config import TrainingConfig
from regard.training.consistency import consistency_loss, twice
from regard.training.distillation import distillation_loss
from regard.training.loss import Loss, sequence_loss
from regard.training.numerics import autocast
from regard.training.reward import weighted_batches
from regard.training.state import Position


class Objective:
    """The objective that `config` asks for; with `config.teacher`, `teachers` are its models."""

    def __init__(self, config: TrainingConfig, teachers: Sequence[nn.Module] = ()) -> None:
        """Raises `ValueError` if there are other teachers than are asked for."""
        if len(teachers) != (0 if config.teacher is None else len(config.teacher.folders)):
            raise ValueError("the teachers are those of training.teacher")
        self.config = config
        self.teachers = [teacher.eval() for teacher in teachers]

    def losses(self, model: nn.Module, batch: Batch, now: Position) -> Iterator[Loss]:
        """What is minimised, in parts whose gradients add up; the first is that of the targets themselves."""
        device = next(model.parameters()).device
        precision: Literal["bf16", "fp32"] = "bf16" if now.precision == "bf16" else "fp32"
        if self.config.reward is None:
            now.flops += self._flops(model, batch)
            with autocast(precision, device):
                loss = self._loss(model, batch, batch.to(device))
            yield loss
            return
        seed = (self.config.seed << 32) + now.step
        parts = weighted_batches(model, batch.to(device), self.config.reward, seed=seed)
        for number, (part, weights) in enumerate(parts):
            now.flops += training_flops(model, part)
            with autocast(precision, device):
                output = model(part)
                if number:  # what a model adds to the loss counts once, with the real targets
                    output = output._replace(penalty=None)
                loss = sequence_loss(output, part.labels, weights=weights)
            yield loss

    def _flops(self, model: nn.Module, batch: Batch) -> int:
        """The student's, forward and back, as often as it reads, and its teachers', forward."""
        told = sum(forward_flops(teacher, batch) for teacher in self.teachers)
        return self.config.readings * training_flops(model, batch) + told

    def _loss(self, model: nn.Module, batch: Batch, moved: Batch) -> Loss:
        config = self.config
        if config.consistency is not None:
            return consistency_loss(
                model(twice(moved)),
                batch.labels,
                weight=config.consistency,
                label_smoothing=config.label_smoothing,
            )
        output = model(moved)
        # The labels stay where they are: see `sequence_loss`.
        if config.teacher is None:
            return sequence_loss(output, batch.labels, label_smoothing=config.label_smoothing)
        return distillation_loss(
            output, moved, config=config.teacher, teachers=self.teachers, label_smoothing=config.label_smoothing
        )
