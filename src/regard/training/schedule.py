"""The learning rate as a pure function of the step and of the share of the run that is done."""

import math
from typing import Annotated, Literal

from pydantic import Field

from regard.config.base import Config


class Noam(Config):
    """factor * size^-0.5 * min(step^-0.5, step * warmup^-1.5)  (Vaswani et al. 2017, 5.3).

    Its peak, at step `warmup`, is factor * (size * warmup)^-0.5: 6.99e-4 for size 512 and 4,000 steps.
    """

    kind: Literal["noam"] = "noam"
    size: int = Field(default=512, gt=0)
    warmup: int = Field(default=4000, gt=0)
    factor: float = Field(default=1.0, gt=0)


class Constant(Config):
    """The same rate from the end of the warm-up to the beginning of the cool-down."""

    kind: Literal["constant"] = "constant"
    learning_rate: float = Field(default=1e-3, gt=0)
    warmup: int = Field(default=0, ge=0)
    cooldown: float = Field(default=0.0, ge=0, le=1)


class InverseSqrt(Config):
    """Falls with step^-0.5 from its peak at the end of the warm-up; then, linearly to 0 over the last `cooldown`."""

    kind: Literal["inverse_sqrt"] = "inverse_sqrt"
    learning_rate: float = Field(default=1e-3, gt=0)
    warmup: int = Field(default=1000, gt=0)
    cooldown: float = Field(default=0.0, ge=0, le=1)


class Cosine(Config):
    """Half a cosine over the whole run, from the peak to `final` times the peak."""

    kind: Literal["cosine"] = "cosine"
    learning_rate: float = Field(default=1e-3, gt=0)
    warmup: int = Field(default=0, ge=0)
    final: float = Field(default=0.0, ge=0, le=1)


class Linear(Config):
    """A straight line over the whole run, from the peak to `final` times the peak."""

    kind: Literal["linear"] = "linear"
    learning_rate: float = Field(default=1e-3, gt=0)
    warmup: int = Field(default=0, ge=0)
    final: float = Field(default=0.0, ge=0, le=1)


class Slanted(Config):
    """Up in a straight line for the share `cut` of the run, then down; from and to peak / `ratio` (STLR).

    Howard and Ruder 2018, eq. 3: p = t / cut, else 1 - (t - cut) / (T - cut); rate = peak (1 + p (ratio - 1)) / ratio.
    """

    kind: Literal["slanted"] = "slanted"
    learning_rate: float = Field(default=1e-2, gt=0)
    cut: float = Field(default=0.1, gt=0, lt=1)
    ratio: float = Field(default=32.0, ge=1)


class Plateau(Config):
    """Multiplied by `factor` whenever `patience` evaluations in a row brought no better score."""

    kind: Literal["plateau"] = "plateau"
    learning_rate: float = Field(default=1e-3, gt=0)
    warmup: int = Field(default=0, ge=0)
    factor: float = Field(default=0.5, gt=0, lt=1)
    patience: int = Field(default=2, gt=0)


AnySchedule = Noam | Constant | InverseSqrt | Cosine | Linear | Slanted | Plateau
ScheduleConfig = Annotated[AnySchedule, Field(discriminator="kind")]


def learning_rate(
    schedule: AnySchedule,
    *,
    step: int,
    progress: float = 0.0,
    reductions: int = 0,
) -> float:
    """The rate of update number `step` (from 1).

    `progress` is the share of the run done before this step, 0 to 1; schedules with an end (cosine, linear,
    cool-down) follow it, so they fit runs limited by steps, epochs or minutes alike. With a limit in minutes
    they depend on the clock and no longer repeat exactly. `reductions` counts the plateaus met so far.
    Every warm-up is a straight line to the peak which ends at step `warmup`.
    """
    if isinstance(schedule, Noam):
        ramp = min(step**-0.5, step * schedule.warmup**-1.5)
        return schedule.factor * float(schedule.size**-0.5 * ramp)
    if isinstance(schedule, Slanted):
        rising = progress / schedule.cut
        height = rising if rising < 1 else 1 - (progress - schedule.cut) / (1 - schedule.cut)
        return schedule.learning_rate * (1 + height * (schedule.ratio - 1)) / schedule.ratio
    rate = schedule.learning_rate * (min(1.0, step / schedule.warmup) if schedule.warmup else 1.0)
    if isinstance(schedule, InverseSqrt):
        rate *= min(1.0, math.sqrt(schedule.warmup / step))
    if isinstance(schedule, Cosine):
        rate *= schedule.final + (1 - schedule.final) * 0.5 * (1 + math.cos(math.pi * progress))
    if isinstance(schedule, Linear):
        rate *= schedule.final + (1 - schedule.final) * (1 - progress)
    if isinstance(schedule, Plateau):
        rate *= schedule.factor**reductions
    if isinstance(schedule, Constant | InverseSqrt) and schedule.cooldown:
        rate *= min(1.0, (1 - progress) / schedule.cooldown)
    return rate


def unfinished_warmup(schedule: AnySchedule, step: int) -> int:
    """The step at which the warm-up ends, if update number `step` lies before it; else 0."""
    warmup = 0 if isinstance(schedule, Slanted) else schedule.warmup
    return warmup if step < warmup else 0
