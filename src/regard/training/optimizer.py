"""The rules by which gradients move the parameters."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from regard.config.base import Config
from regard.errors import UsageError
from regard.layers.embedding import Embedding
from regard.layers.positional_encoding import Learned
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


class Muon(Config):
    """Muon for the hidden matrices, AdamW without decay for all else (Jordan et al. 2024; Liu et al. 2025).

    A matrix moves along the orthogonal matrix nearest to its momentum, found by Newton and Schulz's iteration in
    bfloat16, so that all of its directions are learnt at one speed. Its step has the size that Adam's typically has
    (Liu et al. 2025, equation 4): the schedule's rate is one that would suit Adam, `matrix_rate` a multiple of it.
    """

    kind: Literal["muon"] = "muon"
    matrix_rate: float = Field(default=3.0, gt=0)  # of hidden matrices, in units of the schedule's rate
    momentum: float = Field(default=0.95, ge=0, lt=1)
    weight_decay: float = Field(default=0.1, ge=0)
    beta1: float = Field(default=0.9, ge=0, lt=1)
    beta2: float = Field(default=0.98, ge=0, lt=1)
    epsilon: float = Field(default=1e-9, gt=0)


OptimizerConfig = Annotated[AdamW | Adam | SGD | Muon, Field(discriminator="kind")]


class Together:
    """Several optimizers as one: their groups in one list, what they keep of each parameter in one `state`."""

    def __init__(self, *parts: torch.optim.Optimizer) -> None:
        self.parts = parts
        self.param_groups = [group for part in parts for group in part.param_groups]
        self.state: defaultdict[Tensor, dict[str, Tensor]] = defaultdict(dict)
        for part in parts:
            part.state = self.state

    def step(self) -> None:
        """Move the parameters of all parts."""
        for part in self.parts:
            part.step()

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parts."""
        for part in self.parts:
            part.zero_grad(set_to_none=set_to_none)


def build_optimizer(
    model: nn.Module, config: AdamW | Adam | SGD | Muon, finetuning: FinetuningConfig | None = None
) -> torch.optim.Optimizer | Together:
    """The optimizer of all parameters of `model` that learn; its rate is set anew before every step.

    Every group of parameters has a `scale`, with which the schedule's rate is multiplied: 1, or as `finetuning` says.

    Weight decay spares biases and norms, that is everything with fewer than two axes: pulling those to 0
    only biases the model.
    """
    parts = [(1.0, list(model.parameters()))]
    if finetuning is not None:
        parameters = groups_of(model)
        parts = list(zip(scales(finetuning, len(parameters)), parameters, strict=True))
    if isinstance(config, Muon):
        return _muon(parts, config, hidden_matrices(model))
    weight_decay = 0.0 if isinstance(config, Adam) else config.weight_decay
    groups = [group for scale, part in parts for group in _groups(part, scale, weight_decay)]
    if isinstance(config, SGD):
        return torch.optim.SGD(groups, lr=0.0, momentum=config.momentum, nesterov=config.nesterov, fused=True)
    # The fused kernels make one pass over the memory instead of about ten.
    make = torch.optim.AdamW if isinstance(config, AdamW) else torch.optim.Adam
    return make(groups, lr=0.0, betas=(config.beta1, config.beta2), eps=config.epsilon, fused=True)


def hidden_matrices(model: nn.Module) -> list[nn.Parameter]:
    """The matrices between two hidden layers: not those whose rows are tokens or positions, on either side.

    Such rows are vectors of their own, of which a batch sees a few; there is no sense in making them orthogonal.
    """
    readout = getattr(model, "readout", None)
    tables = [module for module in model.modules() if isinstance(module, Embedding | Learned) or module is readout]
    rows = {parameter for table in tables for parameter in table.parameters()}
    return [parameter for parameter in model.parameters() if parameter.dim() == 2 and parameter not in rows]


def _muon(parts: list[tuple[float, list[nn.Parameter]]], config: Muon, hidden: list[nn.Parameter]) -> Together:
    if not hasattr(torch.optim, "Muon"):
        raise UsageError(f"training.optimizer.kind=muon needs torch 2.9 or later; this is {torch.__version__}")
    chosen = set(hidden)
    matrices, others = [], []
    for scale, part in parts:
        learning = [parameter for parameter in part if parameter.requires_grad]
        in_part = [parameter for parameter in learning if parameter in chosen]
        matrices.append({"params": in_part, "scale": scale * config.matrix_rate})
        others.append({"params": [parameter for parameter in learning if parameter not in chosen], "scale": scale})
    return Together(
        torch.optim.Muon(
            matrices,
            lr=0.0,
            weight_decay=config.weight_decay,
            momentum=config.momentum,
            adjust_lr_fn="match_rms_adamw",
        ),
        torch.optim.AdamW(
            others, lr=0.0, betas=(config.beta1, config.beta2), eps=config.epsilon, weight_decay=0.0, fused=True
        ),
    )


def _groups(part: Iterable[nn.Parameter], scale: float, weight_decay: float) -> list[dict[str, Any]]:
    parameters = [parameter for parameter in part if parameter.requires_grad]
    matrices = [parameter for parameter in parameters if parameter.dim() >= 2]
    others = [parameter for parameter in parameters if parameter.dim() < 2]
    groups = [
        {"params": matrices, "weight_decay": weight_decay, "scale": scale},
        {"params": others, "weight_decay": 0.0, "scale": scale},
    ]
    return [group for group in groups if group["params"]]
