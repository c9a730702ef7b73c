"""The `training` block of a recipe."""

from typing import Annotated, Literal, get_args

from pydantic import Field, model_validator

from regard.config.base import Config
from regard.training.distillation import TeacherConfig
from regard.training.finetuning import FinetuningConfig
from regard.training.optimizer import Adam, OptimizerConfig
from regard.training.reward import RewardConfig
from regard.training.schedule import InverseSqrt, ScheduleConfig

# Better the higher, and better the lower.
_Bleu = Literal["bleu", "bleu:none", "bleu:intl", "bleu:char", "bleu:zh"]
_Higher = Literal[_Bleu, "chrf", "accuracy", "tag_accuracy", "f1", "bleu-4", "cider-d"]
_Lower = Literal["loss", "perplexity", "wer", "per", "cer"]
Metric = Literal[_Higher, _Lower]


class Every(Config):
    """A distance on the way: so many steps, or so many epochs."""

    steps: int | None = Field(default=None, gt=0)
    epochs: int | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _one_unit(self) -> "Every":
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("give either steps or epochs")
        return self

    def is_due(self, *, step: int, epoch: int, batch: int) -> bool:
        """Whether `step` updates and `epoch` epochs plus `batch` batches end on a multiple of this distance."""
        if self.steps is not None:
            return step > 0 and step % self.steps == 0
        return epoch > 0 and batch == 0 and epoch % (self.epochs or 1) == 0


class TrainingConfig(Config):
    """How long, how fast and by what measure a model is trained. The first limit that is reached ends the run.

    `minutes` counts training only: evaluations and saving are not in it. `seed` is for whoever builds the
    model: he calls `torch.manual_seed(seed)` first, and all randomness follows from it.
    """

    seed: int = Field(default=1, ge=0)
    start_from: str | None = None  # a model folder: its weights and tokenizers instead of fresh ones
    threads: int | None = Field(default=None, gt=0, le=1024)
    precision: Literal["auto", "fp32", "bf16"] = "auto"

    steps: int | None = Field(default=None, gt=0)
    epochs: int | None = Field(default=None, gt=0)
    minutes: float | None = Field(default=None, gt=0)

    # rows * longest side; "auto": what fits into the memory of a GPU, 4096 on a CPU
    batch_tokens: Literal["auto"] | Annotated[int, Field(gt=0)] = 4096
    accumulate: int = Field(default=1, gt=0)
    label_smoothing: float = Field(default=0.1, ge=0, lt=1)
    reward: RewardConfig | None = None  # learn from the model's own outputs, the second stage of training
    teacher: TeacherConfig | None = None  # learn from other models' distributions, too
    # Read every batch twice, other units dropped out, and pay for what the two differ in (R-Drop's alpha): costs twice.
    consistency: float | None = Field(default=None, gt=0)
    finetuning: FinetuningConfig | None = None  # parts learn at rates of their own, and not all from the beginning
    optimizer: OptimizerConfig = Adam()
    schedule: ScheduleConfig = InverseSqrt()
    clip_norm: float | None = Field(default=1.0, gt=0)
    average_decay: float | None = Field(default=None, gt=0, lt=1)
    nonfinite: Literal["skip", "stop"] = "skip"

    evaluate_every: Every = Every(epochs=1)
    metric: Metric = "loss"
    patience: int | None = Field(default=None, gt=0)
    evaluate_beam_size: int = Field(default=1, ge=1)  # while training; at the end the recipe's search decides

    save_every: Every | None = None
    keep_checkpoints: int = Field(default=3, gt=0)
    # At the end the mean weights of the last so many evaluated checkpoints are tried against the best one's.
    average: int = Field(default=1, gt=0)

    @model_validator(mode="after")
    def _some_limit(self) -> "TrainingConfig":
        if self.steps is None and self.epochs is None and self.minutes is None:
            raise ValueError("give at least one limit: steps, epochs or minutes")
        return self

    @model_validator(mode="after")
    def _reward_needs_probabilities(self) -> "TrainingConfig":
        if self.reward is not None and self.label_smoothing:
            raise ValueError("reward weighs plain probabilities; set label_smoothing to 0")
        if self.reward is not None and self.start_from is None:
            raise ValueError("reward is the second stage of training; name the first stage's model in start_from")
        return self

    @model_validator(mode="after")
    def _teacher_is_the_only_other_objective(self) -> "TrainingConfig":
        if self.teacher is not None and self.reward is not None:
            raise ValueError(
                "teacher and reward are two stages of training: learn from one, then start_from the result"
            )
        if self.teacher is not None and self.teacher.weight == 1 and self.label_smoothing:
            raise ValueError("with teacher.weight 1 the targets do not count; set label_smoothing to 0")
        return self

    @model_validator(mode="after")
    def _consistency_goes_with_the_targets_alone(self) -> "TrainingConfig":
        if self.consistency is not None and (self.teacher is not None or self.reward is not None):
            raise ValueError("consistency goes with neither teacher nor reward; leave one of them out")
        return self

    @property
    def readings(self) -> int:
        """How many rows at once are made of each example."""
        if self.reward is not None:
            return self.reward.samples
        return 1 if self.consistency is None else 2

    @property
    def higher_is_better(self) -> bool:
        """The direction of the metric that decides."""
        return self.metric in get_args(_Higher)
