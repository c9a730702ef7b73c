"""`regard caption` and `regard evaluate` on pictures: what comes out, in which order, and what is said of bad input."""

import io
import json
import os
import shutil

import pytest
from PIL import Image

import regard
from regard.cli.main import run
from regard.errors import UsageError
from tiny_captioner import save_tiny_captioner, write_scenes


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    folder = tmp_path_factory.mktemp("captions")
    save_tiny_captioner(folder / "model")
    save_tiny_captioner(folder / "none", name="captioner none")
    save_tiny_captioner(folder / "other", seed=1)
    write_scenes(folder / "pictures")
    return folder


def test_a_folder_is_captioned_in_order_and_as_json(here, capsys):
    assert (
        run(["caption", "-m", str(here / "model"), str(here / "pictures"), "--n-best", "2", "--batch-size", "2"]) == 0
    )
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["image"] for line in lines] == [str(here / "pictures" / f"{place}.png") for place in range(3)]
    captioner = regard.Captioner.load(here / "model")
    for line in lines:
        (expected,) = captioner.caption(line["image"], n_best=2)
        assert line["caption"] == expected.text
        assert line["score"] == pytest.approx(expected.score, abs=1e-4)
        assert len(line["token_scores"]) in (len(line["tokens"]), len(line["tokens"]) + 1)
        scores = [each.normalised_score for each in expected.alternatives]  # their texts may be as good as equal
        assert [each["normalised_score"] for each in line["alternatives"]] == pytest.approx(scores, abs=1e-4)


def test_a_list_on_standard_input_and_text_out(here, capsys, monkeypatch):
    paths = [str(here / "pictures" / name) for name in ("2.png", "0.png")]
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("\n".join(paths).encode() + b"\n")))
    assert run(["caption", "-m", str(here / "model"), "--text", "-b", "1"]) == 0
    captioner = regard.Captioner.load(here / "model")
    said = [caption.text for caption in captioner.caption(paths, beam_size=1)]
    assert capsys.readouterr().out.splitlines() == said


def test_a_picture_of_each_with_a_panel_for_every_word(here, tmp_path, capsys):
    picture = str(here / "pictures" / "1.png")
    assert run(["caption", "-m", str(here / "model"), picture, "--attention", str(tmp_path / "seen")]) == 0
    assert capsys.readouterr().err == ""
    with Image.open(tmp_path / "seen" / "00000-1.png") as drawn:
        assert drawn.width > 300
    (caption,) = regard.Captioner.load(here / "model").caption(picture)
    assert caption.maps.shape == (len(caption.ids), 6, 8)  # 24 x 32 pixels, a quarter each way
    assert caption.maps.sum((1, 2)).tolist() == pytest.approx([1.0] * len(caption.ids), abs=1e-5)


def test_without_attention_there_is_nothing_to_draw(here, tmp_path, capsys):
    picture = str(here / "pictures" / "1.png")
    assert run(["caption", "-m", str(here / "none"), picture, "--attention", str(tmp_path / "seen")]) == 2
    assert "does not attend to the picture" in capsys.readouterr().err
    assert not (tmp_path / "seen").exists()


def test_what_cannot_be_read_stops_or_is_reported_in_its_place(here, tmp_path, capsys):
    bad = tmp_path / "bad.png"
    bad.write_text("no picture")
    good = str(here / "pictures" / "0.png")
    assert run(["caption", "-m", str(here / "model"), str(bad), good]) == 3
    assert "bad.png" in capsys.readouterr().err
    assert run(["caption", "-m", str(here / "model"), str(bad), good, "--skip"]) == 3
    found = capsys.readouterr()
    first, second = (json.loads(line) for line in found.out.splitlines())
    assert "bad.png" in first["error"]
    assert second["image"] == good
    assert "bad.png" in found.err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["caption", "x.png"], 2, "name a model folder"),
        (["caption", "-m", "MODEL", "nothing.png"], 3, "nothing.png"),
        (["caption", "-m", "MODEL", "EMPTY"], 3, "no pictures in this folder"),
        (["caption", "-m", "MODEL", "-b", "0", "x.png"], 2, "--beam-size"),
        (["translate", "-m", "MODEL", "hello"], 2, "reads pictures, not text"),
    ],
)
def test_mistakes_are_one_sentence(here, tmp_path, capsys, arguments, code, words):
    (tmp_path / "empty").mkdir()
    put = {"MODEL": str(here / "model"), "EMPTY": str(tmp_path / "empty")}
    assert run([put.get(argument, argument) for argument in arguments]) == code
    said = capsys.readouterr().err
    assert words in said
    assert "Traceback" not in said


@pytest.mark.parametrize("listed", [True, False])
def test_the_name_of_a_picture_need_not_be_utf8(here, tmp_path, capsys, monkeypatch, listed):
    name = os.fsencode(tmp_path) + b"/M\xfc" + b"x" * 240 + b".png"
    shutil.copy(here / "pictures" / "0.png", name)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(name + b"\n")))
    inputs = [] if listed else [str(tmp_path)]
    assert run(["caption", "-m", str(here / "model"), *inputs, "--attention", str(tmp_path / "seen")]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["image"] == name.decode("utf-8", "replace")
    assert found["caption"] == regard.Captioner.load(here / "model").caption(here / "pictures" / "0.png")[0].text
    (drawn,) = (tmp_path / "seen").iterdir()
    assert drawn.suffix == ".png"


def test_evaluate_measures_captions(here, capsys):
    arguments = ["evaluate", "-m", str(here / "model"), str(here / "pictures" / "captions.tsv"), "--json"]
    assert run(arguments) == 0
    values = {each["name"]: each["value"] for each in json.loads(capsys.readouterr().out)["metrics"]}
    assert {"bleu-1", "bleu-4", "rouge-l", "cider-d", "meteor-like"} <= set(values)


def test_an_ensemble_needs_one_vocabulary_and_gives_one_caption(here):
    picture = here / "pictures" / "0.png"
    both = regard.Captioner.load(here / "model", here / "other").caption(picture, beam_size=2)[0]
    alone = regard.Captioner.load(here / "model", here / "model").caption(picture, beam_size=2)[0]
    single = regard.Captioner.load(here / "model").caption(picture, beam_size=2)[0]
    assert alone.text == single.text
    assert alone.score == pytest.approx(single.score, abs=1e-4)
    assert both.score != pytest.approx(single.score, abs=1e-4)
    with pytest.raises(UsageError, match="name a model folder"):
        regard.Captioner.load()


def test_a_picture_among_neighbours_is_captioned_as_alone(here):
    captioner = regard.Captioner.load(here / "model")
    paths = [here / "pictures" / f"{place}.png" for place in range(3)]
    together = captioner.caption(paths)
    alone = [captioner.caption(path)[0] for path in paths]
    assert [caption.text for caption in together] == [caption.text for caption in alone]
