"""Table 2 in miniature: one command trains and compares all systems; here on a few sentences, for two updates."""

import json
import shutil
import subprocess

import pytest

from documented_commands import ROOT
from regard.recipe import Recipe

RECIPES = {path.stem: Recipe.read(path) for path in sorted((ROOT / "recipes" / "table2").glob("*.yaml"))}
SCRIPT = (ROOT / "recipes" / "table2.sh").read_text(encoding="utf-8")


def test_the_systems_of_the_script_are_the_recipes():
    (line,) = [line for line in SCRIPT.splitlines() if line.startswith("systems=")]
    assert sorted(line.partition("=")[2].strip('"').split()) == sorted(RECIPES)
    assert line.index(" gnmt ") < line.index(" gnmt_rl "), "the second stage needs the first"


def test_all_have_the_same_data_the_same_time_and_the_same_search():
    first = RECIPES["transformer"]
    for name, recipe in RECIPES.items():
        assert recipe.data == first.data, name
        assert recipe.search == first.search, name
        assert recipe.training.minutes == first.training.minutes, name
        assert recipe.training.metric == "bleu", name


def test_the_second_stage_is_of_the_same_model():
    one, two = (RECIPES[name].values()["model"] for name in ("gnmt", "gnmt_rl"))
    assert {**one, "dropout": 0.0} == two
    assert RECIPES["gnmt_rl"].training.start_from == "runs/table2/gnmt/model"


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_every_system_starts_finishes_and_stands_in_the_table(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    texts = [("a dog runs in the snow", "ein Hund läuft im Schnee"), ("two men play", "zwei Männer spielen")]
    for name in ("train", "val", "test_2016_flickr", "test_2017_flickr"):
        for side, language in enumerate(("en", "de")):
            (data / f"{name}.{language}").write_text("".join(f"{pair[side]}\n" for pair in texts * 8))
    settings = ["training.steps=2", "training.evaluate_every={steps: 2}", "data.tokenizer.size=40"]
    settings += ["search.max_length=8", "search.beam_size=2"]
    command = ["sh", str(ROOT / "recipes" / "table2.sh"), str(data), "5", "de", *settings]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in done.stdout.splitlines() if line[:1] == "|"]
    assert [row[0] for row in rows[2:-1]] == SCRIPT.partition('systems="')[2].partition('"')[0].split()
    assert rows[-1][0].startswith("ensemble of 3")
    assert all(float(row[2]) > 0 for row in rows[2:]), "FLOPs"
    assert (tmp_path / "table2-de" / "bleu.svg").stat().st_size > 1000
    stage = json.loads((tmp_path / "table2-de" / "runs" / "table2" / "gnmt_rl" / "card.json").read_text())
    assert stage["finished"]["step"] == 2
    shutil.rmtree(tmp_path / "table2-de")
