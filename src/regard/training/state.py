"""All that a run must remember, beside the weights, to go on as if it had never stopped."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn

from regard.errors import ModelError
from regard.training.average import MovingAverage
from regard.training.config import TrainingConfig
from regard.training.numerics import resolve_precision
from regard.training.optimizer import Together, build_optimizer
from regard.training.schedule import Plateau


@dataclass
class Position:
    """Where the run stands. Every field is a number, a word or None, so it is JSON as it is.

    `step` counts updates; `epoch` counts whole epochs behind us and `batch` the batches of this one.
    `seconds` are seconds of training, without evaluations, and `flops` the counted operations of all
    forward and backward passes (`regard.evaluation.flops.training_flops`). `split_above` is the size of the smallest
    batch that did not fit into the GPU. `precision` stays what it was at the start of the run.
    """

    step: int = 0
    epoch: int = 0
    batch: int = 0
    num_tokens: int = 0
    seconds: float = 0.0
    flops: int = 0
    precision: str = "fp32"
    skipped: int = 0
    skipped_in_a_row: int = 0
    split_above: int | None = None
    evaluated_step: int = 0
    best_score: float | None = None
    evaluations_since_best: int = 0
    reductions: int = 0
    evaluations_since_reduction: int = 0


class TrainerState:
    """Optimizer, moving average, position and torch's random numbers; saved as tensors and JSON, never pickled.

    `tensors()` and `values()` may be called whenever `train` has yielded an event, and belong together with
    `model.state_dict()` of the same moment. The tensors are the live ones: write or copy them before the run
    goes on. To resume: build the model as before, load its weights, make a new state, `load` both parts.
    """

    def __init__(self, model: nn.Module, config: TrainingConfig) -> None:
        self._names: dict[Tensor, str] = {parameter: name for name, parameter in model.named_parameters()}
        # What a forward pass of training notes by itself, such as the means of batch normalisation.
        self.noted = [tensor for name, tensor in model.state_dict(keep_vars=True).items() if tensor not in self._names]
        device = next(model.parameters()).device
        self.optimizer = build_optimizer(model, config.optimizer, config.finetuning)
        self.average = None if config.average_decay is None else MovingAverage(model, config.average_decay)
        self.position = Position(precision=resolve_precision(config.precision, device))

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Within this context the model holds the weights to be evaluated and shipped: the average, if there is one."""
        with nullcontext() if self.average is None else self.average.applied():
            yield

    def tensors(self) -> dict[str, Tensor]:
        """Everything large: `optimizer.<quantity>.<parameter>`, `average.<parameter>`, `random.<device>`."""
        found = {"random.cpu": torch.get_rng_state()}
        if torch.cuda.is_initialized():
            found |= {f"random.cuda.{i}": state for i, state in enumerate(torch.cuda.get_rng_state_all())}
        for parameter, quantities in self.optimizer.state.items():
            for quantity, tensor in quantities.items():
                if tensor is not None:
                    found[f"optimizer.{quantity}.{self._names[parameter]}"] = tensor
        if self.average is not None:
            found |= {f"average.{name}": tensor for name, tensor in self.average.tensors().items()}
        return found

    def values(self) -> dict[str, Any]:
        """Everything small, as JSON."""
        return asdict(self.position)

    def load(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Go back to where `tensors()` and `values()` were taken, random numbers included.

        Raises:
            ModelError: the saved state is that of another model or another training configuration.
        """
        known = {field.name for field in fields(Position)}
        if set(values) != known:
            raise ModelError(
                f"the saved training state has the fields {sorted(values)}, but this version needs {sorted(known)}; "
                "go on with the version that saved it"
            )
        self.position = Position(**values)
        self._load_optimizer(tensors)
        averages = {name.removeprefix("average."): t for name, t in tensors.items() if name.startswith("average.")}
        expected = set() if self.average is None else set(self.average.names)
        if set(averages) != expected:
            raise ModelError(
                "the saved training state and the recipe disagree about the moving average of the weights; "
                "resume with the `training.average_decay` that the run was started with"
            )
        if self.average is not None:
            self.average.load(averages)
        _restore_random(tensors)

    def _load_optimizer(self, tensors: Mapping[str, Tensor]) -> None:
        parameters = {name: parameter for parameter, name in self._names.items()}
        parts = self.optimizer.parts if isinstance(self.optimizer, Together) else (self.optimizer,)
        owners = {parameter: part for part in parts for group in part.param_groups for parameter in group["params"]}
        self.optimizer.state.clear()
        for key, tensor in tensors.items():
            if not key.startswith("optimizer."):
                continue
            _, quantity, name = key.split(".", 2)
            parameter = parameters.get(name)
            if parameter is None or parameter not in owners or tensor.shape not in (parameter.shape, ()):
                raise ModelError(
                    f"the saved optimizer holds `{quantity}` of shape {tuple(tensor.shape)} for a parameter `{name}` "
                    "that this model does not have; resume with the recipe that the run was started with"
                )
            owner = owners[parameter]
            adaptive = isinstance(owner, torch.optim.Adam | torch.optim.AdamW)
            if quantity not in ({"step", "exp_avg", "exp_avg_sq"} if adaptive else {"momentum_buffer"}):
                raise ModelError(
                    f"the saved optimizer keeps `{quantity}`, for which {type(owner).__name__} has no use; "
                    "resume with the `training.optimizer` that the run was started with"
                )
            self.optimizer.state[parameter][quantity] = tensor.to(parameter.device, copy=True)

    def judge(self, score: float, config: TrainingConfig) -> bool:
        """Take note of a score of the deciding metric; whether it is the best so far."""
        now = self.position
        sign = 1.0 if config.higher_is_better else -1.0
        # A score of NaN is never better.
        improved = score == score and (now.best_score is None or sign * score > sign * now.best_score)
        if improved:
            now.best_score = score
            now.evaluations_since_best = now.evaluations_since_reduction = 0
            return True
        now.evaluations_since_best += 1
        now.evaluations_since_reduction += 1
        schedule = config.schedule
        if isinstance(schedule, Plateau) and now.evaluations_since_reduction >= schedule.patience:
            now.reductions += 1
            now.evaluations_since_reduction = 0
        return False


def _restore_random(tensors: Mapping[str, Tensor]) -> None:
    torch.set_rng_state(tensors["random.cpu"].cpu())
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        saved = tensors.get(f"random.cuda.{index}")
        if saved is not None:
            torch.cuda.set_rng_state(saved.cpu(), index)
