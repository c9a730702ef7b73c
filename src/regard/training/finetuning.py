"""How a model learns that begins with what another one knows: not all parts at once, and not all as fast (ULM-FiT).

Howard and Ruder 2018: discriminative rates (3.2), the slanted triangle (3.2, `schedule: {kind: slanted}`), and gradual
unfreezing (3.3).
"""

from typing import Literal, Protocol, runtime_checkable

from pydantic import Field
from torch import nn

from regard.config.base import Config
from regard.errors import UsageError


class FinetuningConfig(Config):
    """Each part learns `decay` times as slowly as the part above it, the top at the schedule's rate.

    `unfreeze: gradual` lets only the top part learn in the first epoch, and one more in each epoch after it; `last`
    lets only the top part learn at all; `all` lets everything learn from the beginning.
    """

    decay: float = Field(2.6, ge=1)
    unfreeze: Literal["gradual", "last", "all"] = "gradual"


@runtime_checkable
class Grouped(Protocol):
    """A model whose parts may learn at rates of their own."""

    @property
    def groups(self) -> list[list[nn.Module]]:
        """The parts, from the bottom to the top; together all of the model."""
        ...


def groups_of(model: nn.Module) -> list[list[nn.Parameter]]:
    """The parameters of each part, from the bottom to the top.

    Raises:
        UsageError: the model has no such parts.
    """
    if not isinstance(model, Grouped):
        raise UsageError(
            "training.finetuning is for models that have parts of their own rates: language_model and ulmfit"
        )
    # One matrix may serve two modules of a part.
    return [list(dict.fromkeys(each for module in group for each in module.parameters())) for group in model.groups]


def scales(config: FinetuningConfig, num_groups: int) -> list[float]:
    """What the schedule's rate is multiplied with, from the bottom to the top: eta^(l-1) = eta^l / decay."""
    return [config.decay ** (group + 1 - num_groups) for group in range(num_groups)]


def freeze(model: nn.Module, config: FinetuningConfig, epoch: int) -> None:
    """Let learn what shall learn in `epoch` (from 0), and nothing else: a pure function of its arguments."""
    groups = groups_of(model)
    num_learning = {"all": len(groups), "last": 1, "gradual": min(len(groups), epoch + 1)}[config.unfreeze]
    for place, parameters in enumerate(groups):
        for parameter in parameters:
            parameter.requires_grad_(place >= len(groups) - num_learning)
