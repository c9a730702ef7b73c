"""The rules by which gradients move the parameters."""

from collections.abc import Iterable
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, model_validator
from torch import nn

from regard.config.base import Config
from regard.training.finetuning import FinetuningConfig, groups_of, scales


class AdamW(Config):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019)."""

    kind: Literal["adamw"] = "adamw"
    beta1: float = Field(default=0.9, ge=0, lt=1)
    beta2: float = Field(default=0.98, ge=0, lt=1)
    epsilon: float = Field(default=1e-9, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)


class Adam(Config):
    """Adam (Kingma and Ba 2015); the defaults are those of the Transformer (Vaswani et al. 2017, 5.3)."""

    kind: Literal["adam"] = "adam"
    beta1: float = Field(default=0.9, ge=0, lt=1)
    beta2: float = Field(default=0.98, ge=0, lt=1)
    epsilon: float = Field(default=1e-9, gt=0)


class SGD(Config):
    """Gradient descent, with momentum and Nesterov's variant of it."""

    kind: Literal["sgd"] = "sgd"
    momentum: float = Field(default=0.0, ge=0, lt=1)
    nesterov: bool = False
    weight_decay: float = Field(default=0.0, ge=0)

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> "SGD":
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov has no effect without momentum; give momentum, 0.9 say")
        return self


OptimizerConfig = Annotated[AdamW | Adam | SGD, Field(discriminator="kind")]


def build_optimizer(
    model: nn.Module, config: AdamW | Adam | SGD, finetuning: FinetuningConfig | None = None
) -> torch.optim.Optimizer:
    """The optimizer of all parameters of `model` that learn; its rate is set anew before every step.

    Every group of parameters has a `scale`, with which the schedule's rate is multiplied: 1, or as `finetuning` says.

    Weight decay spares biases and norms, that is everything with fewer than two axes: pulling those to 0
    only biases the model.
    """
    parts: list[tuple[float, Iterable[nn.Parameter]]] = [(1.0, model.parameters())]
    if finetuning is not None:
        parameters = groups_of(model)
        parts = list(zip(scales(finetuning, len(parameters)), parameters, strict=True))
    weight_decay = 0.0 if isinstance(config, Adam) else config.weight_decay
    groups = [group for scale, part in parts for group in _groups(part, scale, weight_decay)]
    if isinstance(config, SGD):
        return torch.optim.SGD(groups, lr=0.0, momentum=config.momentum, nesterov=config.nesterov, fused=True)
    # The fused kernels make one pass over the memory instead of about ten.
    make = torch.optim.AdamW if isinstance(config, AdamW) else torch.optim.Adam
    return make(groups, lr=0.0, betas=(config.beta1, config.beta2), eps=config.epsilon, fused=True)


def _groups(part: Iterable[nn.Parameter], scale: float, weight_decay: float) -> list[dict[str, Any]]:
    parameters = [parameter for parameter in part if parameter.requires_grad]
    matrices = [parameter for parameter in parameters if parameter.dim() >= 2]
    others = [parameter for parameter in parameters if parameter.dim() < 2]
    groups = [
        {"params": matrices, "weight_decay": weight_decay, "scale": scale},
        {"params": others, "weight_decay": 0.0, "scale": scale},
    ]
    return [group for group in groups if group["params"]]
