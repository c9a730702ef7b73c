"""From folders of pictures to a trained model, to labels, and to a drawing of where it looked."""

import inspect
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import regard
from data.picture_files import encoded, gradient
from data.tiled_tiff import write_tiled
from regard.cli import main
from regard.data.picture_file import read_picture
from regard.data.pictures import write_idx
from regard.errors import UsageError

RECIPE = """\
data:
  train: [set]
  hold_out: 0.2
  picture: {{size: [12, 16], channels: 1, mean: [0], std: [1], shift: 1}}
  target_tokenizer: {{kind: labels}}
  cache: cache
model: {model}
training:
  epochs: 12
  threads: 1
  precision: fp32
  batch_tokens: 16
  label_smoothing: 0
  schedule: {{kind: constant, learning_rate: 0.01}}
  evaluate_every: {{epochs: 6}}
  metric: accuracy
"""
MODELS = {
    "attention": "{kind: image_classifier, convolutions: [{filters: 6, pool: 2}], pooling: attention, hidden: [8]}",
    "glimpse": "{kind: glimpse, num_glimpses: 2, patch: 6, scales: 2, glimpse_size: 12, size: 12}",
    "plain": "{kind: image_classifier, hidden: [8]}",
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Models that tell a picture with light in its middle from one with a dark middle."""
    base = tmp_path_factory.mktemp("light")
    generator = np.random.default_rng(0)
    for name, value in (("light", 250), ("dark", 5)):
        (base / "set" / name).mkdir(parents=True)
        for number in range(40):
            pixels = generator.integers(90, 130, (12, 16), dtype=np.uint8)
            pixels[3:9, 4:12] = value
            Image.fromarray(pixels).save(base / "set" / name / f"{number}.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(base)
        for name, model in MODELS.items():
            (base / f"{name}.yaml").write_text(RECIPE.format(model=model))
            assert main.run(["train", f"{name}.yaml", "-o", name, "--quiet"]) == 0
    return base


@pytest.mark.parametrize("name", MODELS)
def test_labels_of_files_folders_and_idx(trained: Path, capsys, tmp_path: Path, name: str) -> None:
    write_idx(tmp_path / "x-images-idx3-ubyte", np.full((2, 12, 16), 250, np.uint8))
    light, dark = trained / "set" / "light", trained / "set" / "dark" / "1.png"
    inputs = [str(dark), str(light), str(tmp_path / "x-images-idx3-ubyte")]
    assert main.run(["classify", "-m", str(trained / name / "model"), *inputs]) == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert len(rows) == 1 + 40 + 2
    assert rows[0][0] == str(dark)
    assert [row[1] for row in rows[:41]] == ["dark"] + ["light"] * 40
    assert all(0.5 <= float(row[2]) <= 1 for row in rows)
    assert rows[-1][0].endswith("x-images-idx3-ubyte: picture 1")


def test_accuracy_is_measured(trained: Path, capsys, tmp_path: Path) -> None:
    images = np.full((4, 12, 16), 110, np.uint8)
    images[:3, 3:9, 4:12] = 250
    write_idx(tmp_path / "x-images-idx3-ubyte", images)
    write_idx(tmp_path / "x-labels-idx1-ubyte", np.zeros(4, np.uint8))
    for name in MODELS:
        assert main.run(["evaluate", "-m", str(trained / name / "model"), str(trained / "set"), "--json"]) == 0
        (metric,) = json.loads(capsys.readouterr().out)["metrics"]
        assert (metric["name"], metric["value"]) == ("accuracy", 100.0)
    # Labels that it has never seen are never right.
    assert main.run(["evaluate", "-m", str(trained / "plain" / "model"), str(tmp_path / "x-images-idx3-ubyte")]) == 0
    assert "0.00" in capsys.readouterr().out
    assert main.run(["evaluate", "-m", str(trained / "plain" / "model"), str(trained / "nix")]) == 3


def test_one_that_cannot_be_read_is_told_and_the_others_are_classified(trained: Path, capsys, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(encoded(gradient(), "PNG")[:60])
    inputs = [str(tmp_path / "bad.png"), str(tmp_path / "nix.png"), str(trained / "set" / "dark" / "1.png")]
    assert main.run(["classify", "-m", str(trained / "plain" / "model"), "--json", "--n-best", "2", *inputs]) == 3
    out, err = capsys.readouterr()
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["label"] for row in rows] == ["", "", "dark"]
    assert set(rows[2]["probabilities"]) == {"dark", "light"}
    assert "bad.png: the picture is damaged" in err
    assert "nix.png: there is no such file" in err
    assert "2 of 3 picture(s) could not be read" in err


def test_the_name_of_a_picture_need_not_be_utf8(trained: Path, capsys, tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/M\xfc.png"
    shutil.copy(trained / "set" / "dark" / "1.png", name)
    (tmp_path / "list").write_bytes(name + b"\n")
    for inputs in (["-i", str(tmp_path / "list")], [str(tmp_path)]):
        assert main.run(["classify", "-m", str(trained / "plain" / "model"), *inputs]) == 0
        assert capsys.readouterr().out.split("\t")[:2] == [name.decode("utf-8", "replace"), "dark"]


def test_text_goes_nowhere_near_pictures(trained: Path, capsys) -> None:
    model = str(trained / "plain" / "model")
    assert main.run(["translate", "-m", model, "a text"]) == 2
    assert "this model reads pictures, not text" in capsys.readouterr().err
    assert main.run(["classify", "-m", model, "--attention", "x.png"]) == 2
    assert "`regard show -m MODEL PICTURE -o FILE`" in capsys.readouterr().err
    with pytest.raises(UsageError, match="reads pictures"):
        regard.Classifier.load(model)


def test_where_it_looked_is_printed_and_drawn(trained: Path, capsys, tmp_path: Path) -> None:
    picture = str(trained / "set" / "light" / "3.png")
    for name, words in (("glimpse", "glimpse 2: 6 x 6 from row"), ("attention", "pooling (largest weight 0.")):
        model = str(trained / name / "model")
        assert main.run(["show", "-m", model, picture]) == 0
        printed = capsys.readouterr().out
        assert printed.startswith("light\t")
        assert words in printed
        assert main.run(["show", "-m", model, picture, "-o", str(tmp_path / f"{name}.png")]) == 0
        assert read_picture(tmp_path / f"{name}.png", channels=3).pixels.shape[1] > 300
        assert main.run(["show", "-m", model, picture, "-o", str(tmp_path / f"{name}.json")]) == 0
        assert json.loads((tmp_path / f"{name}.json").read_text())["translation"] == "light"
        capsys.readouterr()
    for arguments, message in (
        (["-m", str(trained / "plain" / "model"), picture], "sees the whole picture at once"),
        (["-m", str(trained / "glimpse" / "model")], "name one, such as"),
        (["-m", str(trained / "glimpse" / "model"), picture, "-o", "x.txt"], "must end in .png, .svg, .pdf"),
        (["-m", str(trained / "glimpse" / "model"), picture, "--pieces"], "a picture is shown whole"),
    ):
        assert main.run(["show", *arguments]) == 2
        assert message in capsys.readouterr().err
    assert main.run(["show", "-m", str(trained / "glimpse" / "model"), "nix.png"]) == 3


def test_a_huge_picture_is_looked_at_and_classified(trained: Path, capsys, tmp_path) -> None:
    """12,000 x 16,000 pixels, dark with light in the middle, as those that the model was trained with."""
    tiles = {value: np.full((500, 500), value, np.uint8) for value in (110, 250)}
    picture = str(tmp_path / "huge.tif")
    write_tiled(
        Path(picture), 12_000, 16_000, lambda row, column: tiles[250 if 6 <= row < 18 and 8 <= column < 24 else 110]
    )
    assert main.run(["show", "-m", str(trained / "glimpse" / "model"), picture, "-o", str(tmp_path / "x.png")]) == 0
    assert capsys.readouterr().out.startswith("light\t")
    (found,) = regard.PictureClassifier.load(trained / "glimpse" / "model").classify(picture)
    (whole,) = regard.PictureClassifier.load(trained / "plain" / "model").classify(picture)
    assert (found.label, whole.label) == ("light", "light")
    assert found.pixels.shape == whole.pixels.shape == (12, 16, 1)
    assert (found.pixels != 128).any()
    damaged = bytearray(Path(picture).read_bytes())
    damaged[-700:] = bytes(700)
    Path(picture).write_bytes(damaged)
    assert main.run(["classify", "-m", str(trained / "glimpse" / "model"), picture]) == 3
    assert "the picture is damaged" in capsys.readouterr().err


def test_a_path_alone_is_one_picture_and_bytes_are_none(trained: Path) -> None:
    classifier = regard.PictureClassifier.load(trained / "plain" / "model")
    (found,) = classifier.classify(str(trained / "set" / "light" / "3.png"))
    assert found.label == "light"
    with pytest.raises(TypeError, match="a picture is named by its path, a str or Path, not bytes"):
        inspect.unwrap(regard.PictureClassifier.classify)(classifier, b"3.png")


def test_the_map_shown_is_laid_out_like_the_picture(trained: Path) -> None:
    classifier = regard.PictureClassifier.load(trained / "attention" / "model")
    found = classifier.classify([trained / "set" / "light" / "3.png"])[0]
    assert found.looked.maps["pooling"].shape == (6, 8)  # pixels 12 x 16, pooled by 2
    assert found.looked.maps["pooling"].sum() == pytest.approx(1, abs=1e-5)
    assert found.looked.glimpses is None


def test_an_ensemble_is_the_mean(trained: Path) -> None:
    folders = trained / "attention" / "model", trained / "plain" / "model"
    picture = [trained / "set" / "light" / "3.png"]
    each = [regard.PictureClassifier.load(folder).classify(picture)[0] for folder in folders]
    both = regard.PictureClassifier.load(*folders).classify(picture)[0]
    mean = sum(one.probabilities["light"] for one in each) / 2
    assert both.probabilities["light"] == pytest.approx(mean, abs=1e-6)


def test_check_finds_what_is_wrong_with_pictures(tmp_path: Path, capsys) -> None:
    for name, pixels in (("a", gradient()), ("b", 255 - gradient()), ("copy", gradient()), ("flat", gradient() * 0)):
        (tmp_path / f"{name}.png").write_bytes(encoded(pixels, "PNG"))
    (tmp_path / "torn.png").write_bytes(encoded(gradient(), "PNG")[:60])
    frames = [Image.new("L", (4, 4), value) for value in (0, 99)]
    (tmp_path / "two.gif").write_bytes(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    lines = ["a\tone", "a\tone", "copy\ttwo", "flat\t", "torn\tthree", "nix\tfour", "../x\tfive"]
    (tmp_path / "train.tsv").write_text(
        "".join(line.replace("\t", ".png\t") + "\n" for line in lines) + "two.gif\tsix\n"
    )
    (tmp_path / "test.tsv").write_text("copy.png\tanother\n")
    arguments = ["check", str(tmp_path / "train.tsv"), "--test", str(tmp_path / "test.tsv"), "--format", "captions"]
    assert main.run([*arguments, "--json"]) == 3
    train, test = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    counts = {finding["kind"]: (finding["count"], finding["severity"]) for finding in train["findings"]}
    assert counts == {
        "missing_picture": (2, "error"),
        "unreadable_picture": (1, "error"),
        "test_picture": (2, "warning"),
        "empty": (1, "warning"),
        "duplicate_picture": (1, "note"),
        "duplicate": (1, "note"),
        "one_colour": (2, "note"),
        "more_pictures": (1, "note"),
    }
    assert (train["num_pairs"], test["findings"]) == (8, [])
    assert main.run([*arguments, "--fix", str(tmp_path / "out")]) == 2
