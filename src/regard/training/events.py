"""What `train` tells its caller."""

from typing import Literal, NamedTuple

Reason = Literal["steps", "epochs", "minutes", "patience", "stopped"]


class Step(NamedTuple):
    """One update was made.

    `step` and `epoch` count from 1. `loss` (smoothed, with penalty) and `nll` are nats per target token.
    `gradient_norm` is taken before clipping. `seconds` is the time of this step; `progress` the share of
    the run that is done, 0 to 1.
    """

    step: int
    epoch: int
    loss: float
    nll: float
    num_target_tokens: int
    num_source_tokens: int
    learning_rate: float
    gradient_norm: float
    seconds: float
    progress: float


class Evaluated(NamedTuple):
    """The model was evaluated after update `step`, with `epoch` whole epochs behind it.

    `improved` says that an `Improved` follows. `seconds` is the time that the evaluation took.
    """

    step: int
    epoch: int
    scores: dict[str, float]
    improved: bool
    seconds: float


class Improved(NamedTuple):
    """The deciding metric has a new best value."""

    step: int
    metric: str
    score: float


class Skipped(NamedTuple):
    """No update was made, and the weights are untouched. `rows` are the corpus rows of the examples."""

    step: int
    epoch: int
    reason: str
    rows: list[int]


class Finished(NamedTuple):
    """The run is over: a limit was reached, patience ran out, or the caller asked to stop.

    `warmup` is the step that the schedule's warm-up would have ended at, if the run was over before; else 0.
    """

    step: int
    reason: Reason
    warmup: int = 0


Event = Step | Evaluated | Improved | Skipped | Finished
