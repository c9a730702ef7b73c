"""Distillation: the divergence against its formula, its gradient, the mixture, and bugs planted in it."""

import pytest
import torch
from pydantic import ValidationError
from tiny_training import FixedBatches, Tiny, new_model, random_batch, recipe, run, same, weights
from torch import nn
from torch.nn import functional

from checks.making import float64
from checks.planted import Bug, green_then_red
from regard.errors import UsageError
from regard.protocol import Output
from regard.symbols import PAD
from regard.training import chunked_cross_entropy, distillation
from regard.training.distillation import TeacherConfig
from regard.training.loss import sequence_loss

BATCH = random_batch(torch.Generator().manual_seed(3))


def model(seed: int) -> Tiny:
    with float64():
        return new_model(seed, dropout=0.0)


def by_the_formula(student: nn.Module, teacher: nn.Module, temperature: float) -> torch.Tensor:
    """Row by row, from whole logits: T^2 sum_i p_i (log p_i - log q_i), with torch's own function."""
    total = torch.zeros((), dtype=torch.float64)
    for row, labels in enumerate(BATCH.labels):
        for place, label in enumerate(labels):
            if label != PAD:
                p = teacher(BATCH).logits[row, place].detach() / temperature
                q = student(BATCH).logits[row, place] / temperature
                divergence = functional.kl_div(q.log_softmax(-1), p.softmax(-1), reduction="sum")
                total = total + temperature**2 * divergence
    return total


def equals_the_formula(temperature: float = 2.0) -> None:
    """Value, and the gradients of all parameters."""
    student, teacher = model(1), model(2)
    ours = distillation.divergence_from_teachers(
        student(BATCH), [teacher(BATCH)], BATCH.labels, temperature=temperature
    )
    expected = by_the_formula(student, teacher, temperature)
    torch.testing.assert_close(ours, expected, rtol=1e-10, atol=1e-10)
    parameters = list(student.parameters())
    for left, right in zip(
        torch.autograd.grad(ours, parameters), torch.autograd.grad(expected, parameters), strict=True
    ):
        torch.testing.assert_close(left, right, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_it_equals_the_formula_forward_and_backward(temperature):
    equals_the_formula(temperature)


def is_of_the_mean_of_their_probabilities(temperature: float = 2.0) -> None:
    """The mean of probabilities at T, neither of their logarithms nor of their logits."""
    student, *teachers = (model(seed) for seed in range(1, 5))
    ours = distillation.divergence_from_teachers(
        student(BATCH), [teacher(BATCH) for teacher in teachers], BATCH.labels, temperature=temperature
    )
    q = (student(BATCH).logits / temperature).log_softmax(-1)
    p = sum((teacher(BATCH).logits / temperature).softmax(-1) for teacher in teachers).detach() / 3
    rows = BATCH.labels != PAD
    expected = temperature**2 * functional.kl_div(q[rows], p[rows], reduction="sum")
    torch.testing.assert_close(ours, expected, rtol=1e-10, atol=1e-10)
    parameters = list(student.parameters())
    for left, right in zip(
        torch.autograd.grad(ours, parameters), torch.autograd.grad(expected, parameters), strict=True
    ):
        torch.testing.assert_close(left, right, rtol=1e-9, atol=1e-9)


def test_several_teachers_speak_as_one():
    is_of_the_mean_of_their_probabilities()


@pytest.mark.parametrize("check", [equals_the_formula, is_of_the_mean_of_their_probabilities])
def test_it_is_the_same_a_few_rows_at_a_time(check, monkeypatch):
    monkeypatch.setattr(chunked_cross_entropy, "CPU_LOGITS", 23 * 4)
    check()


def test_a_teacher_who_is_the_student_teaches_nothing():
    student = model(1)
    output = student(BATCH)
    value = distillation.divergence_from_teachers(output, [student(BATCH)], BATCH.labels, temperature=3.0)
    assert abs(float(value.detach())) < 1e-12
    gradients = torch.autograd.grad(value, list(student.parameters()))
    assert max(float(gradient.abs().max()) for gradient in gradients) < 1e-12


def is_mixed_as_promised() -> None:
    """(1 - w) smoothed cross entropy + w divergence + the whole penalty; nll is untouched."""
    student, teacher = model(1), model(2)
    output = student(BATCH)._replace(penalty=torch.tensor(7.0, dtype=torch.float64))
    config = TeacherConfig(folders=["t"], weight=0.3, temperature=2.0)
    loss = distillation.distillation_loss(output, BATCH, config=config, teachers=[teacher], label_smoothing=0.1)
    smoothed = sequence_loss(student(BATCH), BATCH.labels, label_smoothing=0.1)
    divergence = distillation.divergence_from_teachers(output, [teacher(BATCH)], BATCH.labels, temperature=2.0)
    torch.testing.assert_close(loss.total, 0.7 * smoothed.total + 0.3 * divergence + 7.0)
    assert (loss.nll, loss.num_tokens) == (smoothed.nll, smoothed.num_tokens)


def test_targets_and_teacher_are_mixed_and_the_penalty_counts_in_full():
    is_mixed_as_promised()


def test_temperature_keeps_the_gradient_s_size():
    student, teacher = model(1), model(2)
    norms = []
    for temperature in (10.0, 100.0, 1000.0):
        value = distillation.divergence_from_teachers(
            student(BATCH), [teacher(BATCH)], BATCH.labels, temperature=temperature
        )
        norms.append(float(torch.autograd.grad(value, student.readout.weight)[0].norm()))
    assert norms[1] == pytest.approx(norms[0], rel=0.2)
    assert norms[2] == pytest.approx(norms[1], rel=0.02)


def test_a_student_becomes_its_teacher():
    teacher, student = new_model(2, dropout=0.0).requires_grad_(False), new_model(1, dropout=0.0)
    before = weights(teacher)

    def distance() -> float:
        told = distillation.divergence_from_teachers(student(BATCH), [teacher(BATCH)], BATCH.labels, temperature=1.0)
        return float(told.detach()) / BATCH.num_target_tokens

    first = distance()
    config = recipe(steps=150, label_smoothing=0.0, teacher=TeacherConfig(folders=["t"], weight=1.0))
    run(student, FixedBatches(BATCH), config, teachers=[teacher])
    assert distance() < first / 50
    assert same(weights(teacher), before)


def test_the_teacher_does_not_drop_out_and_the_student_does():
    teacher, student = new_model(2, dropout=0.5).train(), new_model(1, dropout=0.5)
    seen = []
    teacher.register_forward_hook(lambda *_: seen.append(teacher.training))
    student.register_forward_hook(lambda *_: seen.append(student.training))
    run(student, FixedBatches(BATCH), recipe(steps=1, teacher=TeacherConfig(folders=["t"])), teachers=[teacher])
    assert seen == [True, False]


def test_a_teacher_of_other_places_is_refused():
    class Halved(Tiny):
        def forward(self, batch, record=None):
            output = super().forward(batch)
            return output._replace(hidden=output.hidden[:, :2])

    with float64():
        teacher = Halved()
    config = TeacherConfig(folders=["t"])
    with pytest.raises(UsageError, match=r"same places \(6 x 2 and 6 x 5 of a batch\)"):
        distillation.distillation_loss(model(1)(BATCH), BATCH, config=config, teachers=[teacher], label_smoothing=0.0)


@pytest.mark.parametrize("asked", [True, False])
def test_a_teacher_belongs_to_its_setting(asked):
    config = recipe(steps=1, teacher=TeacherConfig(folders=["t"]) if asked else None)
    with pytest.raises(ValueError, match="the teachers are those of"):
        run(new_model(), FixedBatches(BATCH), config, teachers=[] if asked else [new_model(2)])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"teacher": {"folders": ["t"]}, "reward": {}, "start_from": "m", "label_smoothing": 0.0}, "two stages"),
        ({"teacher": {"folders": ["t"], "weight": 1.0}}, "set label_smoothing to 0"),
        ({"teacher": {"folders": ["t"], "weight": 0.0}}, "greater than 0"),
        ({"teacher": {"folders": ["t"], "temperature": 0.0}}, "greater than 0"),
    ],
    ids=str,
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(ValidationError, match=message):
        recipe(steps=1, **settings)


def _swapped(right):
    return lambda p, q, unit="nats": right(q, p, unit)


def _without_square(right):
    return lambda *rows, temperature, **models: right(*rows, temperature=temperature, **models) / temperature**2


def _of_all_places(right):
    return lambda student, teachers, labels, **options: right(student, teachers, labels.clamp(min=1), **options)


def _penalty_weighed(right):
    def wrong(output: Output, batch, *, config, teachers, label_smoothing):
        loss = right(
            output._replace(penalty=None), batch, config=config, teachers=teachers, label_smoothing=label_smoothing
        )
        return loss._replace(total=loss.total + (1 - config.weight) * output.penalty)

    return wrong


def _mean_of_logits(right):
    return lambda logits: torch.stack(logits).mean(0)


def _mean_of_logarithms(right):
    return lambda logits: torch.stack([each.log_softmax(-1) for each in logits]).mean(0)


BUGS = {
    "teachers' logits are averaged": ("_mean_of", _mean_of_logits, is_of_the_mean_of_their_probabilities),
    "teachers' logarithms are averaged": ("_mean_of", _mean_of_logarithms, is_of_the_mean_of_their_probabilities),
    "KL the other way round": ("kl_divergence_of_logits", _swapped, equals_the_formula),
    "no T^2": ("_divergence", _without_square, equals_the_formula),
    "padding is taught": ("divergence_from_teachers", _of_all_places, equals_the_formula),
    "the penalty is weighed down": ("distillation_loss", _penalty_weighed, is_mixed_as_promised),
}


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_seen(bug, monkeypatch):
    name, change, check = BUGS[bug]
    green_then_red(Bug(bug, distillation, name, change, lambda _: check()), monkeypatch)
