"""The model that comes with the package: small, whole, with its origin, and in the wheel."""

from pathlib import Path

import pytest

import regard
from regard.pipelines.translate import SHIPPED, Translator

ROOT = Path(__file__).parents[1]
MOST_BYTES = 12_000_000


@pytest.fixture(scope="module")
def model() -> Translator:
    return regard.load()


def test_it_translates_and_shows_what_belongs_together(model):
    (translation,) = model.translate("A man plays the guitar.")
    assert translation.text == "Ein Mann spielt Gitarre."
    assert {(0, 0), (1, 1), (2, 2), (4, 3)} <= set(translation.alignment)


def test_it_is_small():
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) < MOST_BYTES


def test_whoever_wrote_its_sentences_is_named(model):
    card, notice = (SHIPPED / "README.md").read_text(encoding="utf-8"), (ROOT / "NOTICE").read_text(encoding="utf-8")
    assert model.loaded[0].card.licence in card
    for name in ("tatoeba.org", "manythings.org/anki", "CC BY 2.0"):
        assert name in card
        assert name in notice


def test_its_card_says_how_good_it_is_and_how_it_was_made(model):
    card = model.loaded[0].card
    assert {metric.name for metric in card.metrics} >= {"bleu", "chrf"}
    assert all(metric.data for metric in card.metrics)
    assert card.command.startswith("regard train recipes/tatoeba-ende.yaml ")
    assert set(card.data) == {"en-de.train.tsv", "en-de.dev.tsv"}


def test_it_is_in_the_wheel_and_in_the_source_distribution():
    sdist = pytest.importorskip("hatchling.builders.sdist").SdistBuilder(str(ROOT))
    wheel = pytest.importorskip("hatchling.builders.wheel").WheelBuilder(str(ROOT))
    inside = {file.distribution_path for file in wheel.recurse_included_files()}
    assert {f"regard/shipped/en-de/{path.name}" for path in SHIPPED.iterdir()} <= inside
    assert {"NOTICE", "LICENSE", "src/regard/shipped/en-de/model.safetensors"} <= {
        file.distribution_path for file in sdist.recurse_included_files()
    }
    assert set(wheel.metadata.core.license_files) == {"LICENSE", "NOTICE"}
