"""A run that begins with another one's model, and its second stage on rewards."""

import pytest
import torch
from test_fit import StopAfter, logged, read, run, weights

from regard.checkpoint.model_folder import load_model
from regard.errors import ModelError, UsageError
from regard.pipelines import fit as fit_module
from regard.pipelines.events import Prepared, Published
from regard.training.numerics import Machine

REWARD = ("training.reward={samples: 3}", "training.label_smoothing=0.0")


@pytest.fixture(autouse=True)
def _leave_this_process_as_it_is(monkeypatch):
    monkeypatch.setattr(fit_module, "set_up_machine", lambda threads: Machine(threads or 1, "highest", False, True))


@pytest.fixture
def first_stage(toy_recipe, tmp_path):
    run(read(toy_recipe), tmp_path / "first")
    return tmp_path / "first" / "model"


def settings(first_stage, *more):
    return (f"training.start_from={first_stage}", "training.schedule={kind: constant, learning_rate: 1.0e-5}", *more)


def test_it_begins_where_the_other_ended(toy_recipe, first_stage, tmp_path):
    run(read(toy_recipe, *settings(first_stage), "training.schedule.learning_rate=1.0e-30"), tmp_path / "second")
    ours, theirs = weights(tmp_path / "second" / "model"), weights(first_stage)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_it_takes_the_tokenizers_over(toy_recipe, first_stage, tmp_path):
    for side in ("source", "target"):
        file = toy_recipe.parent / f"train.{side}"
        file.write_text(file.read_text() + "x y z\n")  # symbols that the first stage has never seen
    run(read(toy_recipe, *settings(first_stage)), tmp_path / "second")
    ours, theirs = load_model(tmp_path / "second" / "model"), load_model(first_stage)
    assert ours.vocabularies.source.fingerprint == theirs.vocabularies.source.fingerprint


def test_stopping_anywhere_changes_nothing_in_the_second_stage(toy_recipe, first_stage, tmp_path):
    recipe = read(toy_recipe, *settings(first_stage, *REWARD), "training.save_every={steps: 3}")
    run(recipe, tmp_path / "whole")
    events = run(recipe, tmp_path / "parts", should_stop=StopAfter(5))
    assert not isinstance(events[-1], Published)
    events = run(recipe, tmp_path / "parts")
    assert isinstance(events[0], Prepared)
    assert events[0].resumed_step > 0
    assert logged(tmp_path / "parts") == logged(tmp_path / "whole")


def test_another_model_is_refused_and_nothing_is_left(toy_recipe, first_stage, tmp_path):
    recipe = read(toy_recipe, *settings(first_stage), "model.feed_forward_size=24")
    with pytest.raises(UsageError, match=r"holds another model .*feed_forward.* and \d+ more; take its block `model`"):
        run(recipe, tmp_path / "second")
    assert not (tmp_path / "second").exists()


def test_no_model_there_is_one_sentence(toy_recipe, tmp_path):
    with pytest.raises(ModelError, match="no such model folder"):
        run(read(toy_recipe, *settings(tmp_path / "nothing")), tmp_path / "second")
