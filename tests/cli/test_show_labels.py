"""`regard show` with models that label texts: the words they looked at, printed, drawn, as a page and as a trace."""

import json

import numpy as np
import pytest

import regard
from regard.cli import main
from regard.show.sentence import look_for_label
from regard.show.viewer import Wish, open_viewer
from tiny_kinds import save_every_kind

TEXT = "a dog in the snow"


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return save_every_kind(tmp_path_factory.mktemp("labels"), ["text attention", "text plain", "tagger"])


def show(capsys, *arguments):
    code = main.run(["show", *map(str, arguments)])
    return code, capsys.readouterr()


def test_the_map_has_the_weights_that_the_classifier_used(folders):
    classifier = regard.Classifier.load(folders["text attention"])
    (found,) = classifier.classify(TEXT)
    viewer = open_viewer(classifier.loaded[0])
    (site,) = look_for_label(viewer.classifier, viewer.trace(TEXT, Wish()))
    np.testing.assert_allclose(site.weights, found.attention[site.name], atol=1e-6)
    weights, keys, queries = site.map()
    assert (queries, keys[:2], weights.shape) == ([found.label], ["a", "dog"], (1, len(keys)))


def test_the_label_its_probability_and_the_map_are_printed(folders, capsys):
    (found,) = regard.Classifier.load(folders["text attention"]).classify(TEXT)
    code, said = show(capsys, "-m", folders["text attention"], TEXT)
    assert code == 0
    assert said.out.startswith(f"{found.label}\t{found.probability:.4f}\n\n")
    assert said.err == "pool\n"


@pytest.mark.parametrize("ending", ["svg", "png"])
def test_the_map_is_drawn(folders, capsys, tmp_path, ending):
    code, said = show(capsys, "-m", folders["text attention"], TEXT, "-o", tmp_path / f"map.{ending}")
    assert code == 0
    assert said.err.endswith(f"wrote {tmp_path / f'map.{ending}'}\n")
    assert (tmp_path / f"map.{ending}").stat().st_size > 1000


@pytest.mark.parametrize("name", ["text attention", "text plain", "tagger"])
def test_a_page_and_a_trace_are_written_of_every_model_that_labels_texts(folders, capsys, tmp_path, name):
    code, _ = show(capsys, "-m", folders[name], TEXT, "-o", tmp_path / "trace.json")
    assert code == 0
    trace = json.loads((tmp_path / "trace.json").read_text(encoding="utf-8"))
    (found,) = regard.Classifier.load(folders[name]).classify(TEXT)
    assert trace["translation"] == found.label
    assert trace["sites"] or trace["influence"] is not None
    code, _ = show(capsys, "-m", folders[name], TEXT, "-o", tmp_path / "page.html")
    assert code == 0
    assert found.label.split()[0] in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_what_cannot_be_shown_is_told_in_one_sentence(folders, capsys):
    code, said = show(capsys, "-m", folders["text plain"], TEXT)
    assert (code, said.err.count("\n")) == (2, 1)
    assert "-o page.html" in said.err
    code, said = show(capsys, "-m", folders["text attention"], TEXT, "--beam-size", "3")
    assert (code, said.err.count("\n")) == (2, 1)
    assert "generate text" in said.err
