"""What `fit` tells its caller, beside the events of `training.train`."""

from pathlib import Path
from typing import NamedTuple

from regard.training import events as training


class Preparing(NamedTuple):
    """So much of a long preparation is done, which is told while it goes on."""

    what: str
    done: int
    total: int


class Prepared(NamedTuple):
    """Data and model are ready; training begins, or goes on after update `resumed_step`.

    `picture` is (height, width) where sources are pictures; `source_vocabulary` then counts their channels.
    `notes` say what is unusual: pairs that were left out and why, checkpoints that were passed over.
    """

    folder: Path
    num_parameters: int
    num_train: int
    num_validation: int
    source_vocabulary: int
    target_vocabulary: int
    device: str
    precision: str
    threads: int
    resumed_step: int
    notes: tuple[str, ...]
    picture: tuple[int, int] | None = None


class Sample(NamedTuple):
    """One validation sentence as the model gives it now."""

    step: int
    source: str
    hypothesis: str
    reference: str


class Saved(NamedTuple):
    """A checkpoint of update `step` is complete on the disk."""

    step: int
    folder: Path


class Warned(NamedTuple):
    """Something went wrong that does not stop the run."""

    message: str


class Candidate(NamedTuple):
    """A set of weights for the model folder, and its validation scores with the recipe's search."""

    name: str
    steps: tuple[int, ...]
    scores: dict[str, float]


class Published(NamedTuple):
    """The model folder is complete. `candidates` were compared; `chosen` is the name of the one taken.

    `flops` are the counted operations of the whole training; 0 if the model does not count.
    """

    folder: Path
    metric: str
    score: float
    chosen: str
    candidates: tuple[Candidate, ...]
    flops: int


class AlreadyFinished(NamedTuple):
    """This run was over before; its model folder is there."""

    folder: Path
    step: int
    model: Path
    metric: str
    score: float


Event = training.Event | Preparing | Prepared | Sample | Saved | Warned | Published | AlreadyFinished
