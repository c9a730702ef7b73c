"""The models that come with the package: small, whole, with their origin, understood by name, and in the wheel."""

import json
import logging
from pathlib import Path

import pytest

import regard
from regard.checkpoint import shipped
from regard.checkpoint.model_folder import find_model, load_model
from regard.cli.main import run
from regard.errors import ModelError
from regard.evaluation.scenes import make_scenes
from regard.pipelines.caption import Captioner

ROOT = Path(__file__).parents[1]
NAMES = ("en-de", "pronounce", "scenes")
MOST_BYTES = 18_000_000  # of all together; the wheel stays below 20 MB
CREDITS = {
    "en-de": ("tatoeba.org", "manythings.org/anki", "CC BY 2.0"),
    "pronounce": ("CMU Pronouncing Dictionary", "Copyright (C) 1993-2015 Carnegie Mellon University"),
    "scenes": ("recipes/scenes_data.py",),
}
METRICS = {"en-de": {"bleu", "chrf"}, "pronounce": {"wer", "per"}, "scenes": {"accuracy"}}


def files(name: str) -> list[Path]:
    return [path for path in (shipped.FOLDER / name).rglob("*") if path.is_file()]


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """A working folder in which nothing has the name of a model."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_these_come_with_the_package():
    assert shipped.names() == sorted(NAMES)


def test_the_translator_translates_and_shows_what_belongs_together():
    (translation,) = regard.load().translate("A man plays the guitar.")
    assert translation.text == "Ein Mann spielt Gitarre."
    assert {(0, 0), (1, 1), (2, 2), (4, 3)} <= set(translation.alignment)


def test_the_speller_reads_small_letters_and_capitals(nowhere):
    small, capital = regard.load("pronounce").translate(["attention", "ATTENTION"])
    assert small.text == capital.text == "AH T EH N SH AH N"


def test_the_captioner_says_what_its_examples_show(nowhere, capsys, monkeypatch):
    class Terminal:
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stdin", Terminal())
    assert run(["caption", "-m", "scenes", "--text"]) == 0
    said = capsys.readouterr()
    drawn = [scene.caption for scene in make_scenes(10, seed=2001, pairs="seen")]  # the test set of scenes_data.py
    lines = said.out.splitlines()
    assert len(lines) >= 4
    assert set(lines) <= set(drawn)
    assert "examples" in said.err


def test_each_can_be_explored_with_nothing_but_its_name(nowhere):
    pytest.importorskip("fastapi", reason="the extra `serve` is not installed")
    from starlette.testclient import TestClient

    from regard.serve.app import open_app
    from regard.serve.models import Place

    client = TestClient(open_app([Place.parse(name) for name in NAMES]), base_url="http://127.0.0.1")
    listed = client.get("/api/v1/models").json()
    assert [model["name"] for model in listed["models"]] == list(NAMES)
    assert len(listed["pictures"]) == len(shipped.examples(shipped.FOLDER / "scenes")) >= 4
    for model in listed["models"][:2]:
        answer = client.post("/api/v1/trace", json={"text": model["example"], "model": model["name"]})
        assert answer.json()["translation"]
    answer = client.post("/api/v1/picture/trace", json={"picture": 0, "model": "scenes"})
    assert answer.json()["translation"] == "a small blue square left of a large blue cross"
    assert "de" in client.get("/languages").json()[0]["targets"]


def test_pictures_that_are_named_are_captioned_instead_of_the_examples(nowhere, capsys):
    (picture, *_) = shipped.examples(shipped.FOLDER / "scenes")
    assert run(["caption", "-m", "scenes", "--text", str(picture)]) == 0
    assert capsys.readouterr().out == Captioner.load("scenes").caption(picture)[0].text + "\n"


def test_a_folder_of_the_same_name_wins_and_that_is_said_once(nowhere, caplog):
    shipped._tell.cache_clear()
    assert find_model(Path("scenes")) == shipped.FOLDER / "scenes"
    (nowhere / "scenes").mkdir()
    with caplog.at_level(logging.WARNING):
        assert find_model(Path("scenes")) == find_model(Path("scenes")) == Path("scenes")
    assert caplog.text.count("the folder of that name here") == 1


@pytest.mark.parametrize("name", ["pronounse", "..", "en-de/config.json"])
def test_nothing_else_is_a_name(nowhere, name):
    with pytest.raises(ModelError):
        load_model(name)


def test_who_mistypes_a_name_is_told_the_names(nowhere, capsys):
    assert run(["translate", "-m", "pronounse", "hello"]) == 4
    assert "regard itself brings en-de, pronounce, scenes" in capsys.readouterr().err


def test_they_are_listed_with_size_figures_and_licence(capsys):
    assert run(["models", "--shipped", "--json"]) == 0
    found = {line["name"]: line for line in map(json.loads, capsys.readouterr().out.splitlines())}
    assert tuple(found) == NAMES
    for name, facts in found.items():
        assert facts["bytes"] == sum(path.stat().st_size for path in files(name))
        assert {metric["name"] for metric in facts["metrics"]} >= METRICS[name]
    assert run(["models", "--shipped"]) == 0
    text = capsys.readouterr().out
    for name, facts in found.items():
        assert f"regard explore {name}" in text
        assert facts["licence"] in text


def test_they_are_small():
    assert sum(path.stat().st_size for name in NAMES for path in files(name)) < MOST_BYTES


@pytest.mark.parametrize("name", NAMES)
def test_whoever_made_their_data_is_named(name):
    card = (shipped.FOLDER / name / "README.md").read_text(encoding="utf-8")
    notice = " ".join((ROOT / "NOTICE").read_text(encoding="utf-8").split())
    assert load_model(name).card.licence in card
    for credit in CREDITS[name]:
        assert credit in card
        assert credit in notice


@pytest.mark.parametrize("name", NAMES)
def test_a_card_says_how_good_the_model_is_and_how_it_was_made(name):
    card = load_model(name).card
    assert {metric.name for metric in card.metrics} >= METRICS[name]
    assert all(metric.data for metric in card.metrics)
    (command,) = [line for line in card.command.splitlines() if line.startswith("regard train")]
    assert (ROOT / command.split()[2]).is_file()
    assert card.data


def test_they_are_in_the_wheel_and_in_the_source_distribution():
    sdist = pytest.importorskip("hatchling.builders.sdist").SdistBuilder(str(ROOT))
    wheel = pytest.importorskip("hatchling.builders.wheel").WheelBuilder(str(ROOT))
    inside = {file.distribution_path for file in wheel.recurse_included_files()}
    source = {file.distribution_path for file in sdist.recurse_included_files()}
    places = {path.relative_to(ROOT / "src").as_posix() for name in NAMES for path in files(name)}
    assert places <= inside
    assert {f"src/{place}" for place in places} | {"NOTICE", "LICENSE"} <= source
    assert set(wheel.metadata.core.license_files) == {"LICENSE", "NOTICE"}
