"""A run with a teacher: of any kind, with its vocabularies, and resumed bit for bit."""

import json

import pytest
import torch
from test_fit import StopAfter, logged, read, run, weights
from test_start import _leave_this_process_as_it_is  # noqa: F401

from regard.checkpoint.model_folder import load_model
from regard.errors import DataError, UsageError
from regard.pipelines.events import Published

LSTM = "model={kind: seq2seq, embedding_size: 8, encoder_size: 8, decoder_size: 8, dropout: 0.1}"


@pytest.fixture
def teacher(toy_recipe, tmp_path):
    run(read(toy_recipe), tmp_path / "teacher")
    return tmp_path / "teacher" / "model"


def student(toy_recipe, teacher, *settings):
    return read(toy_recipe, LSTM, f"training.teacher={{folders: [{teacher}], temperature: 2.0}}", *settings)


def test_a_student_of_another_kind_learns_from_it_and_stopping_changes_nothing(toy_recipe, teacher, tmp_path):
    recipe = student(toy_recipe, teacher, "training.save_every={steps: 3}")
    before = weights(teacher)
    run(recipe, tmp_path / "whole")
    events = run(recipe, tmp_path / "parts", should_stop=StopAfter(5))
    assert not isinstance(events[-1], Published)
    assert isinstance(run(recipe, tmp_path / "parts")[-1], Published)
    assert logged(tmp_path / "parts") == logged(tmp_path / "whole")
    ours, theirs = weights(tmp_path / "parts" / "model"), weights(tmp_path / "whole" / "model")
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert all(torch.equal(tensor, before[name]) for name, tensor in weights(teacher).items())
    assert f"teacher {teacher}" in json.loads((tmp_path / "whole" / "card.json").read_text())["data"]
    run(read(toy_recipe, LSTM), tmp_path / "alone")
    assert logged(tmp_path / "alone") != logged(tmp_path / "whole")


def test_it_takes_the_vocabularies_over(toy_recipe, teacher, tmp_path):
    for side in ("source", "target"):
        file = toy_recipe.parent / f"train.{side}"
        file.write_text(file.read_text() + "x y z\n")  # symbols that the teacher has never seen
    run(student(toy_recipe, teacher), tmp_path / "student")
    assert load_model(tmp_path / "student" / "model").vocabularies == load_model(teacher).vocabularies


def test_a_recipe_with_tokenizers_of_another_kind_is_refused(toy_recipe, teacher, tmp_path):
    with pytest.raises(UsageError, match=r"source tokenizer of kind symbols, .* but the recipe asks for words"):
        run(student(toy_recipe, teacher, "data.tokenizer={kind: words}"), tmp_path / "student")
    assert not (tmp_path / "student").exists()


def test_a_teacher_of_other_words_is_refused(toy_recipe, teacher, tmp_path):
    for side in ("source", "target"):
        file = toy_recipe.parent / f"train.{side}"
        file.write_text(file.read_text() + "x y z\n")
    run(read(toy_recipe, LSTM), tmp_path / "first")
    with pytest.raises(UsageError, match=r"source vocabulary of .*teacher/model \(10 symbols\) is not the"):
        run(student(toy_recipe, teacher, f"training.start_from={tmp_path / 'first' / 'model'}"), tmp_path / "student")


def test_another_teacher_cannot_go_on_with_a_run(toy_recipe, teacher, tmp_path):
    recipe = student(toy_recipe, teacher)
    run(recipe, tmp_path / "student", should_stop=StopAfter(3))
    run(read(toy_recipe, "training.steps=16"), tmp_path / "teacher")  # the same folder, other weights
    with pytest.raises(DataError, match=r"the content of teacher .*teacher/model is not what the run"):
        run(recipe, tmp_path / "student")


def test_a_student_learns_from_several_teachers_of_any_kinds(toy_recipe, teacher, tmp_path):
    run(read(toy_recipe, LSTM, "training.seed=7"), tmp_path / "second")
    both = f"training.teacher.folders=[{teacher}, {tmp_path / 'second' / 'model'}]"
    recipe = student(toy_recipe, teacher, both)
    run(recipe, tmp_path / "student", should_stop=StopAfter(3))
    assert isinstance(run(recipe, tmp_path / "student")[-1], Published)
    run(student(toy_recipe, teacher), tmp_path / "of-one")
    assert logged(tmp_path / "student") != logged(tmp_path / "of-one")
    data = json.loads((tmp_path / "student" / "card.json").read_text())["data"]
    assert [name for name in data if name.startswith("teacher")] == [
        f"teacher {teacher}",
        f"teacher {tmp_path / 'second' / 'model'}",
    ]


def test_teachers_of_different_words_are_refused(toy_recipe, teacher, tmp_path):
    for side in ("source", "target"):
        file = toy_recipe.parent / f"train.{side}"
        file.write_text(file.read_text() + "x y z\n")
    run(read(toy_recipe, LSTM), tmp_path / "other")
    both = f"training.teacher.folders=[{teacher}, {tmp_path / 'other' / 'model'}]"
    with pytest.raises(UsageError, match=r"other/model \(13 symbols\) is not the .* teachers that share their"):
        run(student(toy_recipe, teacher, both), tmp_path / "student")
