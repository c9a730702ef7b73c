"""Corpora of pictures: every format, what a name may not do, and pictures as batches."""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from data.picture_files import encoded, gradient
from regard.data.batching import Batches
from regard.data.corpus_base import Reading
from regard.data.dataset import DataConfig, Dataset, Vocabularies, prepare
from regard.data.open_pictures import open_picture_corpus
from regard.data.picture_reader import PictureConfig, PictureReader
from regard.data.picture_store import PictureStore
from regard.data.pictures import write_idx
from regard.errors import DataError, ModelError, UsageError

CAPTIONS = [("a.png", "a red dog"), ("a.png", "a dog"), ("b.png", "a cat")]


@pytest.fixture
def base(tmp_path: Path) -> Path:
    for place, name in enumerate(("a.png", "b.png", "c.png")):
        (tmp_path / name).write_bytes(encoded(gradient(20 + place, 30), "PNG"))
    return tmp_path


def config(**changes: Any) -> DataConfig:
    values: dict[str, Any] = {
        "train": ["captions.tsv"],
        "validation": "captions.tsv",
        "picture": {"size": [6, 8]},
        "target_tokenizer": {"kind": "words"},
        "cache": "cache",
    }
    return DataConfig.model_validate(values | changes)


def prepared(base: Path, lines: list[str], **changes: Any) -> Dataset:
    (base / "captions.tsv").write_text("".join(line + "\n" for line in lines))
    return prepare(config(**changes), base=base)


def pairs(base: Path, name: str, **options: Any) -> list[tuple[str, str]]:
    return [tuple(pair) for pair in open_picture_corpus(base / name, **options)]


def test_a_table_with_and_without_header_and_split(base: Path) -> None:
    (base / "x.tsv").write_text("a.png\ta red dog\na.png\ta dog\nb.png\ta cat\n")
    assert pairs(base, "x.tsv") == CAPTIONS
    with gzip.open(base / "y.tsv.gz", "wt") as file:
        file.write("image\tsplit\tde\tcaption\nb.png\ttest\tKatze\ta cat\na.png\ttrain\tHund\ta dog\n")
    assert pairs(base, "y.tsv#train") == [("a.png", "a dog")]
    assert pairs(base, "y.tsv#test", target="de") == [("b.png", "Katze")]
    with pytest.raises(DataError, match="has no column `split`"):
        pairs(base, "x.tsv#train")


def test_flickr8k_token_files(base: Path) -> None:
    (base / "tokens.txt").write_text("a.png#0\ta red dog\na.png#1\ta dog\nb.png#0\ta cat\n")
    (base / "list.txt").write_text("b.png\n")
    assert pairs(base, "tokens.txt") == CAPTIONS
    assert pairs(base, "tokens.txt#list.txt") == [("b.png", "a cat")]


def test_half_a_surrogate_pair_is_told_with_its_picture_or_left_out(base: Path) -> None:
    texts = {"a.png": "x\ud83d", "b.png": "y"}
    images = [{"filename": name, "sentences": [{"raw": text}]} for name, text in texts.items()]
    (base / "half.json").write_text(json.dumps({"images": images}))
    with pytest.raises(DataError, match=r"half\.json: a\.png: character 2 of the text is half"):
        pairs(base, "half.json")
    kept = open_picture_corpus(base / "half.json", root=base, reading=Reading("skip"))
    assert [tuple(pair) for pair in kept] == [("b.png", "y")]
    assert kept.counts["malformed"] == 1


def test_coco_and_karpathy(base: Path) -> None:
    coco = {
        "images": [{"id": 7, "file_name": "a.png"}, {"id": 9, "file_name": "b.png"}],
        "annotations": [{"image_id": 7 if name == "a.png" else 9, "caption": text} for name, text in CAPTIONS],
    }
    (base / "coco.json").write_text(json.dumps(coco))
    assert pairs(base, "coco.json") == CAPTIONS
    images = [
        {"filename": "a.png", "split": "train", "sentences": [{"raw": "a red dog"}, {"raw": "a dog"}]},
        {"filename": "b.png", "split": "val", "filepath": "sub", "sentences": [{"raw": "a cat"}]},
    ]
    (base / "karpathy.json").write_text(json.dumps({"images": images, "dataset": "x"}))
    assert pairs(base, "karpathy.json#train") == CAPTIONS[:2]
    assert pairs(base, "karpathy.json#val") == [("sub/b.png", "a cat")]
    with pytest.raises(DataError, match="no picture is of the split `tset`; there are train, val"):
        pairs(base, "karpathy.json#tset")
    (base / "coco.json").write_text(json.dumps({"images": [{"id": 1}], "annotations": []}))
    with pytest.raises(DataError, match="no key 'file_name'"):
        pairs(base, "coco.json")


def test_folders_are_classes(base: Path) -> None:
    for name in ("dog", "cat"):
        (base / "set" / name).mkdir(parents=True)
        (base / "set" / name / "1.png").write_bytes((base / "a.png").read_bytes())
    assert pairs(base, "set") == [("cat/1.png", "cat"), ("dog/1.png", "dog")]
    (base / "set" / "empty").mkdir()
    with pytest.raises(DataError, match="empty holds no pictures"):
        pairs(base, "set")


def test_idx(base: Path) -> None:
    images = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
    write_idx(base / "t-images-idx3-ubyte", images)
    write_idx(base / "t-labels-idx1-ubyte", np.array([5, 0], np.uint8))
    corpus = open_picture_corpus(base / "t-images-idx3-ubyte")
    assert list(corpus) == [("0", "5"), ("1", "0")]
    assert corpus.pictures is not None
    assert np.array_equal(corpus.pictures.read("1", channels=3).pixels, np.repeat(images[1][..., None], 3, -1))
    whole = (base / "t-images-idx3-ubyte").read_bytes()
    for damaged in (whole[:-1], whole + b"x", b"abc", whole[:2]):
        (base / "t-images-idx3-ubyte").write_bytes(damaged)
        with pytest.raises(DataError, match=r"idx3-ubyte: (not|its)"):
            open_picture_corpus(base / "t-images-idx3-ubyte")


@pytest.mark.parametrize("name", ["../secret.png", "/etc/passwd", "link.png", "x\0.png", "", "loop.png"])
def test_nothing_outside_the_root_is_opened(base: Path, name: str) -> None:
    (base / "in").mkdir()
    (base / "secret.png").write_bytes((base / "a.png").read_bytes())
    (base / "in" / "link.png").symlink_to(base / "secret.png")
    (base / "in" / "loop.png").symlink_to(base / "in" / "loop.png")
    (base / "in" / "c.tsv").write_text("a.png\tdog\n")
    pictures = open_picture_corpus(base / "in" / "c.tsv").pictures
    assert pictures is not None
    assert not pictures.has(name)
    with pytest.raises(DataError):
        pictures.read(name, channels=3)


def test_batches_hold_the_pictures_and_one_picture_serves_all_its_captions(base: Path) -> None:
    dataset = prepared(base, ["\t".join(pair) for pair in CAPTIONS])
    store = dataset.train
    assert isinstance(store, PictureStore)
    assert store.pixels.shape == (2, 6, 8, 3)
    assert dataset.vocabularies.dimensions[::2] == (3, False, 8)
    batch = Batches(store, batch_tokens=100, seed=0, shuffle=False).epoch(0)[0]
    assert batch.source.shape == (3, 3, 6, 8)
    assert batch.rows is not None
    order = batch.rows.tolist()
    assert torch.equal(batch.source[order.index(0)], batch.source[order.index(1)])
    expected = torch.from_numpy(store.pixels[1].copy()).permute(2, 0, 1) / 255 * 2 - 1
    assert torch.allclose(batch.source[order.index(2)], expected, atol=1e-6)
    assert [item.references for item in dataset.validation_items] == [("a red dog", "a dog"), ("a cat",)]


def test_missing_and_damaged_pictures(base: Path) -> None:
    lines = ["nix.png\tno", "a.png\ta dog", "d.png\tdamaged", "../x.png\toutside"]
    (base / "d.png").write_bytes(b"\x89PNG\r\n\x1a\nno")
    with pytest.raises(DataError, match=r"names 2 picture\(s\) that are not there: .*nix\.png, .*x\.png; bring them"):
        prepared(base, lines)
    with pytest.raises(DataError, match=r"d\.png: .*; mend it; in a recipe `data.on_error: skip` leaves it out"):
        prepared(base, lines[1:3])
    dataset = prepared(base, lines, on_error="skip")
    assert len(dataset.train) == 1
    assert "3 because the picture cannot be read" in "\n".join(dataset.report)
    assert [item.source for item in dataset.validation_items] == ["a.png"]


def test_the_cache_knows_the_pictures_by_their_content(base: Path) -> None:
    first = prepared(base, ["a.png\ta dog"]).train
    (base / "a.png").write_bytes(encoded(255 - gradient(), "PNG"))
    second = prepared(base, ["a.png\ta dog"]).train
    assert isinstance(first, PictureStore)
    assert isinstance(second, PictureStore)
    assert not np.array_equal(first.pixels, second.pixels)


def test_variation_is_a_function_of_seed_and_epoch(base: Path) -> None:
    picture = {"size": [20, 30], "shift": 3, "flip": True}
    store = prepared(base, [f"a.png\t{word}" for word in "abcdefgh"], picture=picture).train
    rows = np.arange(8)
    plain, one, two = (s.source_batch(rows) for s in (store, store.resample(1, 0), store.resample(1, 1)))
    assert torch.equal(one, store.resample(1, 0).source_batch(rows))
    assert not torch.equal(one, two)
    assert torch.equal(one[3:5], store.resample(1, 0).source_batch(rows[3:5]))
    # every varied picture is the plain one, moved by at most three pixels and perhaps mirrored
    inner = [
        {tuple(p[0, 3 + dy : 17 + dy, 3 + dx : 27 + dx].ravel().tolist()) for dy in range(-3, 4) for dx in range(-3, 4)}
        for p in (plain[0], plain[0].flip(-1))
    ]
    assert all(tuple(p[0, 3:17, 3:27].ravel().tolist()) in inner[0] | inner[1] for p in one)


def test_the_reader_is_a_file_of_the_model_folder(base: Path) -> None:
    dataset = prepared(base, ["a.png\ta dog"], picture={"size": [6, 8], "channels": 1, "mean": [0.1], "root": "."})
    dataset.vocabularies.save(base / "model")
    loaded = Vocabularies.load(base / "model")
    assert loaded == dataset.vocabularies
    assert loaded.dimensions == dataset.vocabularies.dimensions
    with pytest.raises(UsageError, match="reads pictures, not text"):
        _ = loaded.source_tokenizer
    path = base / "model" / "source.picture.json"
    for damaged in ("", "[]", '{"format": 1}', path.read_text().replace("6", "6000"), path.read_text()[:-5]):
        path.write_text(damaged)
        with pytest.raises(ModelError):
            Vocabularies.load(base / "model")


@pytest.mark.parametrize("fit", ["stretch", "crop", "pad"])
def test_fitting(fit: str) -> None:
    reader = PictureReader(PictureConfig.model_validate({"size": [10, 10], "fit": fit}))
    wide = np.zeros((20, 40, 3), np.uint8)
    wide[:, 7:33] = 100
    done = reader.fitted(wide)
    assert done.shape == (10, 10, 3)
    middle = {"stretch": (0, 100), "crop": (100, 100), "pad": (0, 100)}[fit]
    assert (done[5, 0, 0], done[5, 5, 0]) == middle
    assert done[0, 5, 0] == (255 if fit == "pad" else 100)
    assert np.array_equal(reader.pixels(reader.tensor(done[None]))[0], done)


def test_settings_that_contradict_each_other() -> None:
    for changes, message in (
        ({"tokenizer": {"kind": "words"}, "target_tokenizer": None}, "pictures have no tokenizer"),
        ({"picture": {"size": [6, 8], "mean": [0.1, 0.2]}}, "`mean` has 2 numbers for 3"),
    ):
        with pytest.raises(ValueError, match=message):
            config(**changes)
