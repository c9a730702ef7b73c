"""Two passes that should agree: the distance against its formula, its gradient, the mixture, and bugs planted in it."""

import pytest
import torch
from pydantic import ValidationError
from tiny_training import FixedBatches, RandomBatches, Tiny, new_model, random_batch, recipe, run
from torch import nn
from torch.nn import functional

from checks.making import float64
from checks.planted import Bug, green_then_red
from regard.protocol import Output
from regard.symbols import PAD
from regard.training import chunked_cross_entropy, consistency
from regard.training.consistency import twice
from regard.training.events import Step
from regard.training.loss import sequence_loss
from regard.training.objective import Objective
from regard.training.state import TrainerState

BATCH = random_batch(torch.Generator().manual_seed(3))
ROWS = BATCH.labels.size(0)


def two_passes(voices: int = 1) -> Output:
    """Random last states of `voices` voices, each of them a first pass over the batch and a second one."""
    generator = torch.Generator().manual_seed(voices)
    size = (voices * 2 * ROWS, BATCH.labels.size(1), 16)
    with float64():
        readout = new_model(1).readout
    return Output(torch.randn(size, generator=generator, dtype=torch.float64).requires_grad_(), readout, voices=voices)


def by_the_formula(output: Output) -> torch.Tensor:
    """Label by label, from whole logits, with torch's own divergence."""
    logits = output.logits.log_softmax(-1)
    total = torch.zeros((), dtype=torch.float64)
    for voice in range(output.voices):
        for row, labels in enumerate(BATCH.labels):
            first = (2 * voice) * ROWS + row
            for place, label in enumerate(labels):
                if label != PAD:
                    p, q = logits[first, place], logits[first + ROWS, place]
                    for one, other in ((p, q), (q, p)):
                        total = total + functional.kl_div(other, one, reduction="sum", log_target=True)
    return total / output.voices


def by_ours(output: Output) -> torch.Tensor:
    """What the loss grows by with a weight of 4, as 4 / 4 of the distance."""
    with_it, without = (
        consistency.consistency_loss(output, BATCH.labels, weight=weight, label_smoothing=0.1) for weight in (4.0, 0.0)
    )
    return with_it.total - without.total


def gradients(value: torch.Tensor, output: Output) -> tuple[torch.Tensor, ...]:
    return torch.autograd.grad(value, [output.hidden, *output.readout.parameters()])


def equals_the_formula(voices: int = 1) -> None:
    """Value, and the gradients of both passes and of the readout."""
    output = two_passes(voices)
    ours, expected = by_ours(output), by_the_formula(output)
    torch.testing.assert_close(ours, expected, rtol=1e-10, atol=1e-10)
    for left, right in zip(gradients(ours, output), gradients(expected, output), strict=True):
        torch.testing.assert_close(left, right, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("voices", [1, 2])
def test_it_equals_the_formula_forward_and_backward(voices):
    equals_the_formula(voices)


@pytest.mark.parametrize(("logits", "probabilities"), [(6, 4), (7, 5), (1, 1), (1000, 2)])
def test_it_is_the_same_a_few_rows_at_a_time(logits, probabilities, monkeypatch):
    monkeypatch.setattr(chunked_cross_entropy, "CPU_LOGITS", 23 * logits)
    monkeypatch.setattr(chunked_cross_entropy, "CPU_PROBABILITIES", 23 * probabilities)
    equals_the_formula()


def test_in_bfloat16_it_stays_close_to_the_formula():
    output = two_passes()
    output = output._replace(hidden=output.hidden.detach().float(), readout=output.readout.float())
    with torch.autocast("cpu", torch.bfloat16):
        rounded = by_ours(output)
    assert rounded.dtype == torch.float32
    assert rounded.item() == pytest.approx(by_the_formula(output).item(), rel=2e-2)


def is_mixed_as_promised() -> None:
    """The mean of both cross entropies + alpha / 4 of the distance + half of the summed penalty; nll is a mean, too."""
    output = two_passes()
    hidden = output.hidden.chunk(2)
    both = [sequence_loss(output._replace(hidden=part), BATCH.labels, label_smoothing=0.1) for part in hidden]
    penalised = output._replace(penalty=torch.tensor(7.0, dtype=torch.float64))
    loss = consistency.consistency_loss(penalised, BATCH.labels, weight=3.0, label_smoothing=0.1)
    expected = (both[0].total + both[1].total) / 2 + 0.75 * by_the_formula(output) + 3.5
    torch.testing.assert_close(loss.total, expected)
    torch.testing.assert_close(loss.nll, (both[0].nll + both[1].nll) / 2)
    assert loss.num_tokens == BATCH.num_target_tokens


def test_both_passes_and_their_distance_are_mixed():
    is_mixed_as_promised()


def test_every_example_is_there_twice_and_the_batch_in_its_order():
    doubled = twice(BATCH)
    for one, two in zip(BATCH, doubled, strict=True):
        assert torch.equal(two[:ROWS], one)
        assert torch.equal(two[ROWS:], one)


def losses(settings: dict[str, object], *, dropout: float) -> tuple[list[float], nn.Module]:
    model = new_model(1, dropout=dropout)
    events = run(model, RandomBatches(), recipe(**({"steps": 8} | settings)))
    return [event.loss for event in events if isinstance(event, Step)], model


def test_where_nothing_is_dropped_out_training_is_as_without():
    alone, without = losses({}, dropout=0.0)
    paired, beside = losses({"consistency": 5.0}, dropout=0.0)
    assert alone == pytest.approx(paired, rel=1e-5)
    for left, right in zip(without.parameters(), beside.parameters(), strict=True):
        torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-5)


def distance_of_a_trained_model(weight: float | None) -> float:
    model = new_model(1, dropout=0.3)
    run(model, FixedBatches(BATCH), recipe(steps=200, consistency=weight))
    torch.manual_seed(5)
    with torch.no_grad():
        apart = [by_the_formula(model.train()(twice(BATCH))) for _ in range(20)]
    return float(torch.stack(apart).mean())


def test_who_pays_for_it_disagrees_less():
    assert distance_of_a_trained_model(5.0) < 0.6 * distance_of_a_trained_model(None)


def counted_flops(weight: float | None) -> int:
    class Counting(Tiny):
        def flops(self, batch):
            return 100 * batch.num_target_tokens

    config, model = recipe(consistency=weight), Counting()
    now = TrainerState(model, config).position
    list(Objective(config).losses(model, BATCH, now))
    return now.flops


def test_two_readings_cost_twice():
    assert counted_flops(5.0) == 2 * counted_flops(None) > 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"teacher": {"folders": ["t"]}}, "neither teacher nor reward"),
        ({"reward": {}, "start_from": "m", "label_smoothing": 0.0}, "neither teacher nor reward"),
        ({"consistency": 0.0}, "greater than 0"),
    ],
    ids=str,
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(ValidationError, match=message):
        recipe(**({"steps": 1, "consistency": 5.0} | settings))


def _one_way(right):
    def wrong(logits, probs, *, weight):
        p, q = probs[::2].clone(), probs[1::2].clone()
        return right(logits, probs, weight=weight)[0], 2 * (p * (p / q).log()).sum()

    return wrong


def _second_detached(right):
    def wrong(logits, probs, *, weight):
        gradient, distance = right(logits, probs, weight=weight)
        gradient[1::2] = probs[1::2]
        return gradient, distance

    return wrong


def _not_its_double(right):
    return lambda logits, probs, *, weight: right(logits.roll(1, 0), probs.roll(1, 0), weight=weight)


def _of_all_places(right):
    return lambda output, labels, **settings: right(output, labels.clamp(min=1), **settings)


def _whole_penalty(right):
    def wrong(output, labels, **settings):
        doubled = None if output.penalty is None else 2 * output.penalty
        return right(output._replace(penalty=doubled), labels, **settings)

    return wrong


def _unhalved(right):
    return lambda output, labels, *, weight, label_smoothing: right(
        output, labels, weight=2 * weight, label_smoothing=label_smoothing
    )


BUGS = {
    "one direction twice": (chunked_cross_entropy, "_disagree", _one_way, equals_the_formula),
    "the second pass learns nothing": (chunked_cross_entropy, "_disagree", _second_detached, equals_the_formula),
    "a place is compared with its neighbour": (chunked_cross_entropy, "_disagree", _not_its_double, equals_the_formula),
    "padding must agree, too": (consistency, "sequence_loss", _of_all_places, equals_the_formula),
    "the penalty counts twice": (consistency, "consistency_loss", _whole_penalty, is_mixed_as_promised),
    "half the distance": (consistency, "consistency_loss", _unhalved, is_mixed_as_promised),
}


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_seen(bug, monkeypatch):
    place, name, change, check = BUGS[bug]
    green_then_red(Bug(bug, place, name, change, lambda _: check()), monkeypatch)
