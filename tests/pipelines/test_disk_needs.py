"""A run that its disk cannot hold is told so before it has learnt anything."""

import pytest

from regard.checkpoint.storage import Storage
from regard.errors import UserError
from regard.pipelines.events import Prepared
from regard.pipelines.fit import fit
from regard.recipe import Recipe


@pytest.fixture
def recipe(toy_recipe):
    return Recipe.read(
        toy_recipe, ["training.keep_checkpoints=2", "model.size=64", "training.average=1", "training.average_decay=0.9"]
    )


@pytest.fixture
def checkpoint_bytes(recipe, tmp_path):
    """What a checkpoint of it really takes; and the model folder."""
    for _ in fit(recipe, tmp_path / "known"):
        pass
    folders = [*(tmp_path / "known" / "checkpoints").iterdir(), tmp_path / "known" / "model"]
    sizes = [sum(path.stat().st_size for path in folder.rglob("*.safetensors")) for folder in folders]
    return sizes[0], sizes[-1]


@pytest.fixture
def start(recipe, tmp_path, monkeypatch):
    """Begin (or go on) on a disk with so many bytes left: the notes of the first event."""

    def begin(free, **settings):
        monkeypatch.setattr(Storage, "free_bytes", lambda storage, path: free)
        event = next(fit(recipe.with_training(**settings), tmp_path / "run"))
        assert isinstance(event, Prepared)
        return event.notes

    return begin


def full(notes):
    return [note for note in notes if "may become full" in note]


def test_a_disk_without_room_for_one_checkpoint_is_refused_and_nothing_is_left(start, tmp_path, checkpoint_bytes):
    with pytest.raises(UserError, match=r"there is no room for a checkpoint, which asks for .*, and 0 MB are free"):
        start(1000)
    checkpoint, _ = checkpoint_bytes  # with the optimizer's moments, which no update has made yet
    with pytest.raises(UserError, match="there is no room for a checkpoint"):
        start(int(1.1 * checkpoint))
    assert not (tmp_path / "run").exists()
    assert full(start(int(1.3 * checkpoint)))


def test_a_disk_that_would_become_full_is_told_and_one_that_suffices_is_not(start, checkpoint_bytes):
    checkpoint, model = checkpoint_bytes
    # Two are kept, the best may be a third, and a fourth is written before the first goes. Headers are not counted.
    assert full(start(int(0.93 * (4 * checkpoint + model))))
    assert not full(start(4 * checkpoint + model))
    assert full(start(4 * checkpoint + model, keep_checkpoints=3))


def test_what_the_run_has_written_already_is_not_asked_for_twice(start, recipe, tmp_path, checkpoint_bytes):
    checkpoint, _ = checkpoint_bytes
    for _ in fit(recipe.with_training(steps=8), tmp_path / "run"):
        pass
    assert not full(start(2 * checkpoint))
    assert full(start(int(1.3 * checkpoint)))
    before = sorted((tmp_path / "run").rglob("*"))
    with pytest.raises(UserError, match="there is no room for a checkpoint"):
        start(int(1.1 * checkpoint))  # what a checkpoint takes, and not what is asked for before it is written
    assert sorted((tmp_path / "run").rglob("*")) == before
