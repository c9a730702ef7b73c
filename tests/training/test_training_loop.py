import math

import pytest
import torch
from tiny_training import (
    Clock,
    FixedBatches,
    RandomBatches,
    Tiny,
    new_model,
    no_scores,
    random_batch,
    recipe,
    run,
    same,
    weights,
)
from torch import nn

from regard.errors import ModelError, UsageError, UserError
from regard.protocol import Batch, Output
from regard.symbols import PAD
from regard.training.config import Every
from regard.training.events import Evaluated, Finished, Improved, Skipped, Step
from regard.training.loop import train, validation_loss
from regard.training.loss import sequence_loss
from regard.training.optimizer import SGD, AdamW, Muon
from regard.training.schedule import Constant, Linear, Plateau, learning_rate
from regard.training.state import TrainerState


def of(kind, events):
    return [event for event in events if isinstance(event, kind)]


def scores_of(*scores: float):
    remaining = list(scores)
    return lambda model, step: {"loss": remaining.pop(0)}


class Poisoned(Tiny):
    """A model which gives NaN, or an infinite gradient, at the given calls (from 0)."""

    def __init__(self, *bad_calls: int, in_gradient: bool = False) -> None:
        super().__init__()
        self.bad_calls, self.in_gradient, self.num_calls = bad_calls, in_gradient, 0
        self.register_buffer("noted", torch.zeros(()))  # such as a mean of batch normalisation

    def forward(self, batch: Batch, record: object = None) -> Output:
        output = super().forward(batch)
        if self.num_calls in self.bad_calls:
            hidden = output.hidden
            if self.in_gradient:
                hidden.register_hook(lambda gradient: gradient * math.inf)
            else:
                hidden = hidden * math.nan
            output = output._replace(hidden=hidden)
        if self.training:
            self.noted.lerp_(output.hidden.detach().mean(), 0.1)
        self.num_calls += 1
        return output


class Crowded(Tiny):
    """A model which runs out of memory on more than `limit` rows, in the middle of the backward pass."""

    def __init__(self, limit: int) -> None:
        super().__init__(dropout=0.0)
        self.limit, self.largest = limit, 0

    def forward(self, batch: Batch, record: object = None) -> Output:
        output = super().forward(batch)
        self.largest = max(self.largest, batch.source.size(0))
        if batch.source.size(0) > self.limit:
            output.hidden.register_hook(_run_out_of_memory)
        return output


def _run_out_of_memory(gradient: torch.Tensor) -> None:
    raise torch.OutOfMemoryError("simulated")


def test_a_model_learns_what_it_is_taught():
    model = new_model(dropout=0.0)
    batch = random_batch(torch.Generator().manual_seed(0))
    events = of(Step, run(model, FixedBatches(batch), recipe(steps=60, label_smoothing=0.0)))
    assert events[0].nll > 2.5
    assert events[-1].nll < 0.8 * events[0].nll
    assert [event.step for event in events] == list(range(1, 61))


def test_a_step_tells_what_happened():
    batches = RandomBatches(3)
    (first, *_) = run(new_model(), batches, recipe(steps=4, accumulate=2), clock=Clock(0.25))
    group = batches.epoch(0)[:2]
    assert (first.step, first.epoch, first.seconds, first.progress) == (1, 1, 0.25, 0.25)
    assert first.num_target_tokens == sum(batch.num_target_tokens for batch in group)
    assert first.num_source_tokens == sum(batch.source.numel() for batch in group)
    assert first.learning_rate == 1e-2
    assert first.loss > 0
    assert first.gradient_norm > 0


def test_the_loss_is_per_target_token_and_that_of_the_loss_function():
    model, batch = new_model(dropout=0.0), random_batch(torch.Generator().manual_seed(0))
    expected = sequence_loss(model(batch), batch.labels, label_smoothing=0.1)
    (step, *_) = run(model, FixedBatches(batch), recipe(steps=1))
    assert step.loss == pytest.approx(expected.total.item() / expected.num_tokens, rel=1e-6)
    assert step.nll == pytest.approx(expected.nll.item() / expected.num_tokens, rel=1e-6)


@pytest.mark.parametrize("num_parts", [2, 3, 6])
def test_accumulated_batches_move_the_weights_like_one_large_batch(num_parts):
    """Token-normalised: with a mean of means the shorter batch would weigh too much."""
    big = random_batch(torch.Generator().manual_seed(0), num_rows=6)
    assert len({int((row != PAD).sum()) for row in big.labels}) > 1
    size = 6 // num_parts
    parts = [Batch(big.source[i : i + size], big.target[i : i + size]) for i in range(0, 6, size)]
    settings = {"steps": 1, "optimizer": SGD(), "schedule": Constant(learning_rate=1.0), "clip_norm": None}
    whole, pieces = new_model(dropout=0.0), new_model(dropout=0.0)
    (one, *_) = run(whole, FixedBatches(big), recipe(**settings))
    (many, *_) = run(pieces, FixedBatches(*parts), recipe(accumulate=num_parts, **settings))
    for left, right in zip(whole.parameters(), pieces.parameters(), strict=True):
        torch.testing.assert_close(left, right, atol=1e-6, rtol=0)
    assert many.loss == pytest.approx(one.loss, rel=1e-6)
    assert many.gradient_norm == pytest.approx(one.gradient_norm, rel=1e-5)


def test_a_step_never_joins_batches_of_two_epochs():
    steps = of(Step, run(new_model(), RandomBatches(5), recipe(steps=6, accumulate=2)))
    assert [step.epoch for step in steps] == [1, 1, 1, 2, 2, 2]
    tokens = [step.num_target_tokens for step in steps]
    assert tokens[2] < tokens[1]


@pytest.mark.parametrize("clip_norm", [0.01, 1e6, None])
def test_gradients_are_clipped_by_their_global_norm(clip_norm):
    model, batch = new_model(dropout=0.0), random_batch(torch.Generator().manual_seed(0))
    before = weights(model)
    settings = recipe(steps=1, optimizer=SGD(), schedule=Constant(learning_rate=1.0), clip_norm=clip_norm)
    (step, *_) = run(model, FixedBatches(batch), settings)
    moved = math.sqrt(sum((new - before[name]).square().sum().item() for name, new in model.named_parameters()))
    assert moved == pytest.approx(min(step.gradient_norm, clip_norm or math.inf), rel=1e-4)


@pytest.mark.parametrize("in_gradient", [False, True])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_batch_which_is_not_finite_leaves_every_bit_of_the_weights(in_gradient, accumulate):
    torch.manual_seed(0)
    model = Poisoned(2 * accumulate, in_gradient=in_gradient)
    config = recipe(steps=4, accumulate=accumulate, average_decay=0.9, optimizer=AdamW())
    state = TrainerState(model, config)
    before: dict[str, torch.Tensor] = {}
    skipped = []
    for event in train(model, RandomBatches(8), config, evaluate=no_scores, state=state):
        if isinstance(event, Skipped):
            assert same(weights(model), {name: before[name] for name in model.state_dict()})
            assert same({name: before[name] for name in state.tensors() if name != "random.cpu"}, _learnt(state))
            skipped.append(event)
        before = {name: tensor.clone() for name, tensor in (weights(model) | _learnt(state)).items()}
    assert [event.step for event in skipped] == [2]
    assert skipped[0].rows == list(range(12 * accumulate, 12 * accumulate + 6 * accumulate))
    assert skipped[0].reason == "loss or gradient is not finite"
    assert (state.position.skipped, state.position.skipped_in_a_row, state.position.step) == (1, 0, 4)


def _learnt(state: TrainerState) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in state.tensors().items() if name != "random.cpu"}


def test_five_bad_batches_in_a_row_end_the_run():
    torch.manual_seed(0)
    model = Poisoned(1, 3, 4, 5, 6, 7)
    state = TrainerState(model, recipe())
    with pytest.raises(UserError, match=r"5 batches in a row .* after step 2; lower the learning rate"):
        run(model, RandomBatches(), recipe(), state=state)
    assert state.position.skipped == 6


def test_a_run_may_be_told_to_stop_at_the_first_bad_batch():
    torch.manual_seed(0)
    model, config = Poisoned(1), recipe(nonfinite="stop")
    state = TrainerState(model, config)
    events = train(model, RandomBatches(), config, evaluate=no_scores, state=state)
    assert isinstance(next(events), Step)
    before = weights(model)
    with pytest.raises(UserError, match=r"not finite after step 1, at rows \[6, 7, 8, 9, 10, 11\]"):
        next(events)
    assert same(before, weights(model))


def test_a_batch_of_padding_makes_no_update_and_no_nan():
    batch = random_batch(torch.Generator().manual_seed(0))
    empty = batch._replace(target=torch.full_like(batch.target, PAD))
    model, config = new_model(), recipe(steps=3, optimizer=AdamW(weight_decay=0.5))
    events = run(model, FixedBatches(batch, empty), config)
    assert [type(event).__name__ for event in events[:4]] == ["Step", "Skipped", "Step", "Skipped"]
    assert events[1].reason == "no target tokens"
    assert all(bool(tensor.isfinite().all()) for tensor in model.state_dict().values())


@pytest.mark.parametrize("limit", [3, 2, 1])
def test_a_batch_that_does_not_fit_is_split_and_moves_the_weights_the_same(limit):
    batches = RandomBatches(4)
    torch.manual_seed(0)
    small = Crowded(limit)
    torch.manual_seed(0)
    large = Crowded(100)
    config = recipe(steps=5, optimizer=SGD(), schedule=Constant(learning_rate=0.5))
    state = TrainerState(small, config)
    split = of(Step, run(small, batches, config, state=state))
    whole = of(Step, run(large, batches, config))
    for left, right in zip(small.parameters(), large.parameters(), strict=True):
        torch.testing.assert_close(left, right, atol=1e-6, rtol=1e-5)
    assert [step.num_target_tokens for step in split] == [step.num_target_tokens for step in whole]
    assert state.position.split_above is not None
    small.largest = 0
    run(small, batches, recipe(steps=state.position.step + 1), state=state)
    assert small.largest <= limit


def test_only_the_batches_that_are_too_large_are_split():
    torch.manual_seed(0)
    model, generator = Crowded(3), torch.Generator().manual_seed(0)
    seen = []
    model.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].source.size(0)))
    batches = FixedBatches(random_batch(generator, num_rows=2), random_batch(generator, num_rows=6))
    run(model, batches, recipe(steps=2, accumulate=2))
    assert seen == [2, 6, 2, 3, 3, 2, 3, 3]


def test_a_single_example_that_does_not_fit_is_an_error_with_advice():
    torch.manual_seed(0)
    model = Crowded(0)
    with pytest.raises(UserError, match=r"single example does not fit .* lower data.max_length"):
        run(model, RandomBatches(), recipe())


def test_the_first_limit_ends_the_run():
    assert run(new_model(), RandomBatches(5), recipe(steps=7, epochs=2))[-1] == Finished(7, "steps")
    assert run(new_model(), RandomBatches(5), recipe(steps=20, epochs=2))[-1] == Finished(10, "epochs")


def test_minutes_count_training_and_not_evaluation():
    config = recipe(steps=None, minutes=1.0, evaluate_every=Every(steps=1))
    clock = Clock(6.0)
    model = new_model()
    state = TrainerState(model, config)

    def slow(model: nn.Module, step: int) -> dict[str, float]:
        clock.now += 1e6
        return no_scores(model, step)

    events = run(model, RandomBatches(), config, evaluate=slow, state=state, clock=clock)
    assert events[-1] == Finished(10, "minutes")
    assert state.position.seconds == 60.0
    assert of(Step, events)[4].progress == 0.5


def test_minutes_go_on_counting_after_a_resume():
    config = recipe(steps=None, minutes=1.0)
    model = new_model()
    state = TrainerState(model, config)
    state.position.seconds = 48.0
    assert run(model, RandomBatches(), config, state=state, clock=Clock(6.0))[-1] == Finished(2, "minutes")


def test_a_schedule_with_an_end_follows_the_limit_that_is_given():
    line = Linear(learning_rate=1.0)
    by_steps = of(Step, run(new_model(), RandomBatches(5), recipe(steps=10, schedule=line)))
    by_epochs = of(Step, run(new_model(), RandomBatches(5), recipe(steps=None, epochs=2, schedule=line)))
    by_minutes = recipe(steps=None, minutes=1.0, schedule=line)
    by_clock = of(Step, run(new_model(), RandomBatches(5), by_minutes, clock=Clock(6.0)))
    expected = [1 - number / 10 for number in range(10)]
    for steps in (by_steps, by_epochs, by_clock):
        assert [step.learning_rate for step in steps] == pytest.approx(expected)


def test_each_step_has_the_rate_of_its_number():
    config = recipe(steps=6, schedule=Constant(learning_rate=1e-3, warmup=4))
    for step in of(Step, run(new_model(), RandomBatches(), config)):
        assert step.learning_rate == learning_rate(config.schedule, step=step.step)


def test_evaluation_comes_every_so_many_steps_and_at_the_end():
    events = run(new_model(), RandomBatches(), recipe(steps=7, evaluate_every=Every(steps=3)))
    assert [event.step for event in of(Evaluated, events)] == [3, 6, 7]
    assert events[-1] == Finished(7, "steps")


def test_evaluation_comes_every_so_many_epochs_and_never_twice():
    events = run(new_model(), RandomBatches(3), recipe(steps=None, epochs=5, evaluate_every=Every(epochs=2)))
    assert [(event.step, event.epoch) for event in of(Evaluated, events)] == [(6, 2), (12, 4), (15, 5)]


def test_evaluation_sees_a_model_at_rest():
    model, seen = new_model(), []

    def look(model: nn.Module, step: int) -> dict[str, float]:
        seen.append((model.training, torch.is_grad_enabled()))
        return no_scores(model, step)

    run(model, RandomBatches(), recipe(steps=2), evaluate=look)
    assert seen == [(False, False)]


def test_evaluation_changes_nothing_even_if_it_draws_random_numbers():
    def draw(model: nn.Module, step: int) -> dict[str, float]:
        torch.randn(100)
        return no_scores(model, step)

    often = new_model()
    run(often, RandomBatches(), recipe(evaluate_every=Every(steps=1)), evaluate=draw)
    never = new_model()
    run(never, RandomBatches(), recipe(evaluate_every=Every(steps=100)))
    assert same(weights(often), weights(never))


def test_patience_ends_the_run():
    config = recipe(steps=100, evaluate_every=Every(steps=2), patience=3)
    model = new_model()
    state = TrainerState(model, config)
    evaluate = scores_of(3.0, 2.0, 2.0, 2.5, 2.1)
    events = run(model, RandomBatches(), config, evaluate=evaluate, state=state)
    assert events[-1] == Finished(10, "patience")
    assert of(Improved, events) == [Improved(2, "loss", 3.0), Improved(4, "loss", 2.0)]
    assert [event.improved for event in of(Evaluated, events)] == [True, True, False, False, False]
    assert state.position.best_score == 2.0


def test_for_bleu_higher_is_better_and_nan_never_is():
    scores = iter([1.0, math.nan, 3.0, 2.0])
    config = recipe(steps=4, evaluate_every=Every(steps=1), metric="bleu")
    events = run(
        new_model(), RandomBatches(), config, evaluate=lambda model, step: {"loss": -step, "bleu": next(scores)}
    )
    assert [event.step for event in of(Improved, events)] == [1, 3]


def test_a_plateau_lowers_the_rate():
    schedule = Plateau(learning_rate=1.0, factor=0.5, patience=2)
    config = recipe(steps=6, evaluate_every=Every(steps=1), schedule=schedule)
    events = run(new_model(), RandomBatches(), config, evaluate=scores_of(3.0, 2.0, 2.0, 2.0, 1.0, 2.0))
    assert [step.learning_rate for step in of(Step, events)] == [1.0, 1.0, 1.0, 1.0, 0.5, 0.5]


def test_a_better_score_begins_the_patience_of_a_plateau_anew():
    schedule = Plateau(learning_rate=1.0, factor=0.5, patience=2)
    config = recipe(steps=5, evaluate_every=Every(steps=1), schedule=schedule)
    events = run(new_model(), RandomBatches(), config, evaluate=scores_of(3.0, 3.0, 2.0, 2.0, 2.0))
    assert {step.learning_rate for step in of(Step, events)} == {1.0}


def test_a_missing_metric_is_named():
    with pytest.raises(UsageError, match=r"training.metric is `bleu`, but the evaluation gives loss"):
        run(new_model(), RandomBatches(), recipe(metric="bleu"))


def test_a_caller_can_stop_the_run_before_any_step():
    answers = iter([False, False, True])
    events = run(new_model(), RandomBatches(), recipe(), should_stop=lambda: next(answers))
    assert [type(event).__name__ for event in events] == ["Step", "Step", "Finished"]
    assert events[-1] == Finished(2, "stopped")


def test_the_average_of_the_weights_is_what_is_evaluated():
    config = recipe(steps=4, average_decay=0.5)
    model, history = new_model(), []
    state = TrainerState(model, config)
    expected = weights(model)
    evaluated: dict[str, torch.Tensor] = {}

    def look(model: nn.Module, step: int) -> dict[str, float]:
        evaluated.update(weights(model))
        return no_scores(model, step)

    for event in train(model, RandomBatches(), config, evaluate=look, state=state):
        if isinstance(event, Step):
            decay = min(0.5, (1 + event.step) / (10 + event.step))
            history.append(weights(model))
            for name in expected:
                expected[name] = decay * expected[name] + (1 - decay) * history[-1][name]
    for name, tensor in expected.items():
        torch.testing.assert_close(evaluated[name], tensor)
    assert same(weights(model), history[-1])
    with state.averaged():
        assert same(weights(model), evaluated)
    assert same(weights(model), history[-1])


def test_an_evaluation_that_fails_leaves_the_model_its_own_weights():
    config = recipe(steps=2, average_decay=0.5)
    model = new_model()

    def fail(model: nn.Module, step: int) -> dict[str, float]:
        raise RuntimeError("no")

    events = train(model, RandomBatches(), config, evaluate=fail, state=TrainerState(model, config))
    assert [next(events).step for _ in range(2)] == [1, 2]
    last = weights(model)
    with pytest.raises(RuntimeError, match="no"):
        next(events)
    assert same(weights(model), last)


def test_no_batches_are_an_error():
    with pytest.raises(ValueError, match="epoch 0 has no batch"):
        run(new_model(), FixedBatches(), recipe())


def test_validation_loss_does_not_depend_on_the_batches():
    model = new_model().eval()
    batch = random_batch(torch.Generator().manual_seed(0))
    parts = [Batch(batch.source[i : i + 1], batch.target[i : i + 1]) for i in range(6)]
    whole, pieces = validation_loss(model, [batch]), validation_loss(model, parts)
    assert pieces["loss"] == pytest.approx(whole["loss"], rel=1e-6)
    assert whole["perplexity"] == pytest.approx(math.exp(whole["loss"]))


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (SGD(momentum=0.9), AdamW(), "keeps `momentum_buffer`, for which AdamW has no use"),
        (AdamW(), SGD(momentum=0.9), "keeps `.*`, for which SGD has no use"),
        (Muon(), AdamW(), "keeps `momentum_buffer`, for which AdamW has no use"),
        (AdamW(), Muon(), "keeps `.*`, for which Muon has no use"),
        (SGD(momentum=0.9), Muon(), "keeps `momentum_buffer`, for which AdamW has no use"),
        (Muon(), SGD(momentum=0.9), "keeps `.*`, for which SGD has no use"),
    ],
)
def test_the_state_of_another_optimizer_is_refused(before, after, message):
    config, model = recipe(steps=2, optimizer=before), new_model()
    state = TrainerState(model, config)
    run(model, RandomBatches(), config, state=state)
    other = TrainerState(model, config.model_copy(update={"optimizer": after}))
    with pytest.raises(ModelError, match=message):
        other.load(state.tensors(), state.values())
