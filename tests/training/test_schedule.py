import math

import pytest
from pydantic import ValidationError

from regard.training.config import TrainingConfig
from regard.training.schedule import (
    Constant,
    Cosine,
    InverseSqrt,
    Linear,
    Noam,
    Plateau,
    Slanted,
    learning_rate,
    unfinished_warmup,
)


@pytest.mark.parametrize(("size", "peak"), [(512, 6.99e-4), (1024, 4.94e-4)])
def test_the_paper_peaks_at_step_4000(size, peak):
    schedule = Noam(size=size, warmup=4000)
    assert learning_rate(schedule, step=4000) == pytest.approx(peak, rel=1e-3)
    assert learning_rate(schedule, step=3999) < learning_rate(schedule, step=4000)
    assert learning_rate(schedule, step=4001) < learning_rate(schedule, step=4000)


def test_noam_follows_the_formula_at_the_ends():
    assert learning_rate(Noam(), step=1) == pytest.approx(512**-0.5 * 4000**-1.5, rel=1e-12)
    assert learning_rate(Noam(), step=100_000) == pytest.approx(512**-0.5 * 100_000**-0.5, rel=1e-12)
    assert learning_rate(Noam(factor=2.0), step=77) == 2 * learning_rate(Noam(), step=77)


def test_inverse_sqrt_is_noam_by_another_name():
    peak = (512 * 4000) ** -0.5
    for step in (1, 10, 3999, 4000, 4001, 100_000):
        ours = learning_rate(InverseSqrt(learning_rate=peak, warmup=4000), step=step)
        assert ours == pytest.approx(learning_rate(Noam(), step=step), rel=1e-12)


@pytest.mark.parametrize("schedule", [Constant(warmup=10), Cosine(warmup=10), Linear(warmup=10), Plateau(warmup=10)])
def test_a_warm_up_is_a_straight_line_to_the_peak(schedule):
    rates = [learning_rate(schedule, step=step) for step in (1, 5, 10, 11)]
    assert rates == pytest.approx([1e-4, 5e-4, 1e-3, 1e-3])


def test_cosine_and_line_end_where_they_are_told():
    cosine, line = Cosine(learning_rate=1.0, final=0.1), Linear(learning_rate=1.0, final=0.1)
    for progress, expected in ((0.0, 1.0), (0.25, 0.1 + 0.45 * (1 + math.sqrt(0.5))), (0.5, 0.55), (1.0, 0.1)):
        assert learning_rate(cosine, step=9, progress=progress) == pytest.approx(expected)
    for progress, expected in ((0.0, 1.0), (0.5, 0.55), (1.0, 0.1)):
        assert learning_rate(line, step=9, progress=progress) == pytest.approx(expected)


def test_a_cool_down_is_a_straight_line_to_zero_over_the_last_part():
    schedule = Constant(learning_rate=1.0, cooldown=0.4)
    rates = [learning_rate(schedule, step=9, progress=progress) for progress in (0.0, 0.6, 0.8, 1.0)]
    assert rates == pytest.approx([1.0, 1.0, 0.5, 0.0])
    falling = InverseSqrt(learning_rate=1.0, warmup=4, cooldown=0.5)
    assert learning_rate(falling, step=16, progress=0.75) == pytest.approx(0.25)


def test_every_plateau_multiplies_the_rate():
    schedule = Plateau(learning_rate=1.0, factor=0.5)
    assert [learning_rate(schedule, step=9, reductions=n) for n in range(3)] == [1.0, 0.5, 0.25]


def test_a_run_needs_a_limit():
    with pytest.raises(ValidationError, match="at least one limit"):
        TrainingConfig()


@pytest.mark.parametrize("every", [{}, {"steps": 1, "epochs": 1}])
def test_a_distance_has_one_unit(every):
    with pytest.raises(ValidationError, match="either steps or epochs"):
        TrainingConfig(steps=1, evaluate_every=every)


def test_optimizer_and_schedule_are_chosen_by_kind():
    config = TrainingConfig.model_validate(
        {"steps": 1, "optimizer": {"kind": "sgd", "momentum": 0.9}, "schedule": {"kind": "cosine"}}
    )
    assert (config.optimizer.kind, config.schedule.kind) == ("sgd", "cosine")


def test_a_warmup_is_over_at_its_last_step():
    assert unfinished_warmup(InverseSqrt(learning_rate=1e-3, warmup=10), 9) == 10
    assert unfinished_warmup(InverseSqrt(learning_rate=1e-3, warmup=10), 10) == 0
    assert unfinished_warmup(Constant(learning_rate=1e-3), 1) == 0
    assert unfinished_warmup(Slanted(), 1) == 0
