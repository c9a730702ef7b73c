"""Every recipe of the repository is read; blocks that contradict each other are refused."""

from pathlib import Path

import pytest

from regard.config.document import parse_yaml
from regard.data.dataset import cache_folder
from regard.errors import UsageError
from regard.protocol import Dimensions
from regard.recipe import Recipe

RECIPES = sorted((Path(__file__).parents[1] / "recipes").glob("*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_is_read_and_written_back_equal(path):
    recipe = Recipe.read(path)
    assert Recipe.parse(parse_yaml(recipe.text(), "again").values, name="again") == recipe


def test_a_relative_root_lies_beside_the_recipe(toy_recipe, monkeypatch, tmp_path_factory):
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert Recipe.read(toy_recipe).data.root == str(toy_recipe.parent.resolve())


def test_a_relative_root_of_the_command_line_lies_here(toy_recipe, monkeypatch, tmp_path_factory):
    here = tmp_path_factory.mktemp("here")
    monkeypatch.chdir(here)
    assert Recipe.read(toy_recipe, ["data.root=corpora"]).data.root == str(here.resolve() / "corpora")


def test_a_tilde_is_the_home_and_a_variable_is_text(toy_recipe, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Recipe.read(toy_recipe, ["data.root=~/x"]).data.root == str(tmp_path.resolve() / "x")
    assert Recipe.read(toy_recipe, ["data.root=${HOME}"]).data.root.endswith("${HOME}")


def test_a_home_that_is_not_there_is_told(toy_recipe, monkeypatch):
    with pytest.raises(UsageError, match=r"^~nosuchuser/x: there is no such home folder"):
        Recipe.read(toy_recipe, ["data.root=~nosuchuser/x"])
    monkeypatch.delenv("HOME")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("REGARD_CACHE", raising=False)
    monkeypatch.setattr("os.getuid", lambda: 2**31 - 7)  # whom no list of users names
    with pytest.raises(UsageError, match=r"^~/\.cache: there is no such home folder"):
        cache_folder(Recipe.read(toy_recipe, ["data.cache=null"]).data, Path())


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (
            ["training.schedule={kind: noam, factor: 2.0}"],
            "command line: training.schedule.size is 512, but model.size is 16; make them equal",
        ),
        (
            ["data.validation=null"],
            "command line: data.validation or data.hold_out is required: "
            "what is best on unseen pairs becomes the model",
        ),
        (
            ["training.average_decay=0.999"],
            "toy.yaml:16: training.average and training.average_decay both average the weights; leave one of them out",
        ),
        (
            ["model.positions=learned", "model.max_length=100"],
            "toy.yaml:1: data.max_length is 256, but the model has only 100 positions (model.max_length); "
            "lower the one or raise the other",
        ),
    ],
)
def test_blocks_that_contradict_each_other_are_refused(toy_recipe, settings, expected):
    with pytest.raises(UsageError) as caught:
        Recipe.read(toy_recipe, settings)
    assert str(caught.value) == expected.replace("toy.yaml", str(toy_recipe))


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("model.kind=transfomer", "command line: `model.kind`: there is no model of kind 'transfomer'; did you mean"),
        ("model.kind=os", "command line: `model.kind`: there is no model of kind 'os'"),
        ("model.kind=../x", "command line: `model.kind`: there is no model of kind '../x'"),
        (
            "training.schedule.factor=0.5",
            "command line: unknown key `training.schedule.factor`; known are cooldown, kind, learning_rate, warmup",
        ),
        ("model.dropuot=0.3", "command line: unknown key `model.dropuot`; did you mean `dropout`?"),
    ],
)
def test_a_wrong_setting_is_answered_with_advice(toy_recipe, setting, expected):
    with pytest.raises(UsageError) as caught:
        Recipe.read(toy_recipe, [setting])
    assert str(caught.value).startswith(expected)


def test_the_model_is_built_by_its_kind(toy_recipe):
    recipe = Recipe.read(toy_recipe)
    assert recipe.kind == "transformer"
    assert type(recipe.build(Dimensions(10, 10, shared=True))).__name__ == "Transformer"
