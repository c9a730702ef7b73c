"""A run that was stopped and resumed equals the uninterrupted one, bit for bit."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_training import RandomBatches, Tiny, new_model, recipe, same, weights
from torch import Tensor

from regard.errors import ModelError
from regard.training.config import Every, TrainingConfig
from regard.training.events import Event
from regard.training.loop import train
from regard.training.optimizer import SGD, AdamW, Muon
from regard.training.schedule import Constant, Cosine, Noam, Plateau
from regard.training.state import TrainerState

NUM_STEPS = 9
EVERYTHING = {
    "steps": NUM_STEPS,
    "average_decay": 0.9,
    "evaluate_every": Every(steps=2),
    "schedule": Plateau(learning_rate=1e-2, patience=1, warmup=3),
}
CONFIGS = {
    "fp32": recipe(**EVERYTHING),
    "bf16": recipe(**EVERYTHING, precision="bf16"),
    "accumulation": recipe(**EVERYTHING, accumulate=2, precision="bf16"),
    "adamw and cosine": recipe(steps=NUM_STEPS, optimizer=AdamW(), schedule=Cosine(warmup=2)),
    "two readings": recipe(steps=NUM_STEPS, consistency=5.0, precision="bf16"),
    "muon": recipe(steps=NUM_STEPS, optimizer=Muon(), precision="bf16"),
    "momentum": recipe(steps=NUM_STEPS, optimizer=SGD(momentum=0.9, nesterov=True), schedule=Constant()),
    "plain descent": recipe(steps=NUM_STEPS, optimizer=SGD()),
    "epochs": recipe(steps=None, epochs=3, schedule=Noam(size=16, warmup=4), evaluate_every=Every(epochs=1)),
}


def evaluate(model: torch.nn.Module, step: int) -> dict[str, float]:
    """A score which depends on the weights and the random numbers, and gets worse now and then."""
    return {"loss": float(model.embedding.weight.double().abs().sum()) + step % 4 + float(torch.rand(()))}


class Run:
    """A run with its folder: after every event all that is needed to go on is on disk."""

    def __init__(self, folder: Path, config: TrainingConfig) -> None:
        self.folder, self.config = folder, config

    def start(self, seed: int = 0) -> list[Event]:
        model = new_model(seed)
        return self._go(model, TrainerState(model, self.config))

    def resume(self, number: int, *, without: str = "nothing") -> list[Event]:
        """Go on from the files written at event `number`, in a process which knows nothing else."""
        torch.manual_seed(999)
        model = Tiny()
        state = TrainerState(model, self.config)
        model.load_state_dict(load_file(self._path(number, "model")), strict=False)
        tensors = load_file(self._path(number, "state"))
        values = json.loads(self._path(number, "values").read_text())
        unrestored = torch.get_rng_state()
        state.load(tensors, values)
        if without == "random numbers":
            torch.set_rng_state(unrestored)
        if without == "optimizer":
            state.optimizer.state.clear()
        if without == "position":
            state.position.batch = 0
        return self._go(model, state, first=number + 1, folder=self.folder / f"resumed-{number}-{without}")

    def _go(self, model: Tiny, state: TrainerState, *, first: int = 0, folder: Path | None = None) -> list[Event]:
        folder = folder or self.folder
        folder.mkdir(exist_ok=True)
        events = []
        batches = RandomBatches(3)
        for number, event in enumerate(train(model, batches, self.config, evaluate=evaluate, state=state), first):
            events.append(event)
            # The readout is the embedding, so it is left out.
            save_file(
                {name: t for name, t in weights(model).items() if "readout.w" not in name}, folder / f"{number}.model"
            )
            save_file(state.tensors(), folder / f"{number}.state")
            (folder / f"{number}.values").write_text(json.dumps(state.values()))
        self.final = weights(model), {name: tensor.clone() for name, tensor in state.tensors().items()}
        self.values = state.values()
        return events

    def _path(self, number: int, kind: str) -> Path:
        return self.folder / f"{number}.{kind}"


def timeless(events: list[Event]) -> list[tuple[object, ...]]:
    return [tuple(event._replace(seconds=0.0) if hasattr(event, "seconds") else event) for event in events]


@pytest.mark.parametrize("name", CONFIGS)
def test_a_run_resumed_after_any_event_ends_in_the_same_bits(name, tmp_path):
    run = Run(tmp_path, CONFIGS[name])
    events = run.start()
    model, state = run.final
    values = run.values | {"seconds": 0.0}
    assert len(events) > NUM_STEPS
    for number in range(len(events) - 1):
        resumed = run.resume(number)
        assert timeless(_without_lost_improvement(events[number + 1 :], resumed)) == timeless(resumed)
        assert same(run.final[0], model)
        assert same(run.final[1], state)
        assert run.values | {"seconds": 0.0} == values


def _without_lost_improvement(expected: list[Event], resumed: list[Event]) -> list[Event]:
    """`Improved` belongs to its `Evaluated`, which announced it: a run saved between them does not repeat it."""
    return expected[1:] if len(expected) == len(resumed) + 1 else expected


@pytest.mark.parametrize("forgotten", ["random numbers", "optimizer", "position"])
def test_a_run_that_forgets_something_does_not(forgotten, tmp_path):
    run = Run(tmp_path, CONFIGS["fp32"])
    run.start()
    model, _ = run.final
    run.resume(1, without=forgotten)  # after step 2 of an epoch of 3
    assert not same(run.final[0], model)


def test_two_runs_of_the_same_seed_are_the_same_and_of_another_are_not(tmp_path):
    events = [
        Run(tmp_path / str(number), CONFIGS["bf16"]).start() for number in range(2) if not (tmp_path / "x").exists()
    ]
    assert timeless(events[0]) == timeless(events[1])


def test_the_precision_of_a_run_does_not_change_when_it_is_resumed():
    model = new_model()
    automatic = TrainerState(model, recipe(precision="auto"))
    saved = TrainerState(model, recipe(precision="fp32"))
    automatic.load(saved.tensors(), saved.values())
    assert automatic.position.precision == "fp32"


def saved_state(config: TrainingConfig) -> tuple[dict[str, Tensor], dict[str, object]]:
    model = new_model()
    state = TrainerState(model, config)
    list(train(model, RandomBatches(), config, evaluate=evaluate, state=state))
    return {name: tensor.clone() for name, tensor in state.tensors().items()}, state.values()


def test_everything_saved_is_a_tensor_or_json():
    tensors, values = saved_state(CONFIGS["fp32"])
    assert all(isinstance(tensor, Tensor) for tensor in tensors.values())
    assert json.loads(json.dumps(values, allow_nan=False)) == values
    assert {name.split(".")[0] for name in tensors} == {"optimizer", "average", "random"}


def test_the_state_of_another_model_is_refused():
    tensors, values = saved_state(recipe(steps=1))
    state = TrainerState(torch.nn.Linear(2, 2), recipe(steps=1))
    with pytest.raises(ModelError, match=r"a parameter `embedding.weight` that this model does not have"):
        state.load(tensors, values)


def test_the_state_of_a_run_without_average_is_refused_where_one_is_wanted():
    tensors, values = saved_state(recipe(steps=1))
    with pytest.raises(ModelError, match=r"training.average_decay"):
        TrainerState(new_model(), recipe(steps=1, average_decay=0.9)).load(tensors, values)


def test_the_state_of_another_version_is_refused():
    tensors, values = saved_state(recipe(steps=1))
    with pytest.raises(ModelError, match="the version that saved it"):
        TrainerState(new_model(), recipe(steps=1)).load(tensors, values | {"moon": 1})
