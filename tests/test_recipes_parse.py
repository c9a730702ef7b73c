"""Every recipe of the repository is read, and begins with a command that would be taken."""

import pytest

from documented_commands import ROOT, check
from regard.recipe import Recipe

RECIPES = sorted([*(ROOT / "recipes").glob("*.yaml"), *(ROOT / "recipes" / "table2").glob("*.yaml")])


def head(path):
    """The comments that a recipe begins with."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line.lstrip("# ") for line in lines[: next(i for i, line in enumerate(lines) if line[:1] != "#")]]


def test_there_are_recipes():
    assert len(RECIPES) >= 3


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_it_is_read(path):
    assert Recipe.read(path).text()


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_its_first_lines_say_what_it_is_and_give_its_command(path):
    about, *rest = head(path)
    assert len(about) > 20
    commands = [line for line in rest if line.startswith("regard ")]
    training = sorted(command.split()[1:3] for command in commands if command.split()[1] in ("train", "finetune"))
    name = str(path.relative_to(ROOT))
    assert training in ([["train", name]], [["finetune", name]], [["finetune", name], ["train", name]])
    for command in commands:
        check(command)
