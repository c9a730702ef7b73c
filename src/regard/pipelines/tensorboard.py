"""TensorBoard events of a run, where the package `tensorboard` is installed."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from regard.training.events import Evaluated, Step


class TensorBoard:
    """Writes curves of the training steps and validations into a folder; does nothing without the package."""

    def __init__(self, folder: Path, *, purge_step: int) -> None:
        """Begin to write; what an earlier process wrote from `purge_step` on is hidden.

        Raises:
            OSError: the folder cannot be written.
        """
        self._writer: Any = None
        if find_spec("tensorboard") is not None:
            from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415  slow, and optional

            self._writer = SummaryWriter(str(folder), purge_step=purge_step)

    def add(self, event: object) -> None:
        """Take in an event of the run."""
        if self._writer is None:
            return
        if isinstance(event, Step):
            values = {
                "train/loss": event.loss,
                "train/learning_rate": event.learning_rate,
                "train/gradient_norm": event.gradient_norm,
                "train/tokens_per_second": event.num_target_tokens / max(event.seconds, 1e-9),
            }
            self._add(values, event.step)
        elif isinstance(event, Evaluated):
            self._add({f"validation/{name}": value for name, value in event.scores.items()}, event.step)

    def close(self) -> None:
        """Flush and close the file."""
        if self._writer is not None:
            self._writer.close()

    def _add(self, values: dict[str, float], step: int) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
