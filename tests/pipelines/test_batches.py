"""A model that is normalised by the batch gets captions of all lengths in one, or it would learn the length from it."""

import numpy as np
import pytest

from regard.data.dataset import DataConfig, Dataset, prepare
from regard.data.tokenizer import TokenizerConfig
from regard.models import captioner, captioner_transformer
from regard.pipelines.batches import learns_batch_statistics, training_batches
from regard.protocol import Dimensions, Model
from regard.training.config import TrainingConfig
from tiny_captioner import write_scenes

TRAINED = {"kind": "resnet", "stem_width": 4, "widths": [4], "depths": [1]}
FROZEN = {"kind": "efficientnet_lite0", "frozen": True}
SIZES = {"embedding_size": 4, "decoder_size": 6}
TRAINING = TrainingConfig.model_validate({"steps": 1})


def model(encoder: dict) -> Model:
    config = captioner.Config.model_validate({"encoder": encoder} | SIZES)
    return captioner.build(config, Dimensions(3, 30, height=48, width=48))


@pytest.fixture
def data(tmp_path) -> Dataset:
    write_scenes(tmp_path / "scenes", 200)
    return prepare(
        DataConfig(
            root=str(tmp_path / "scenes"),
            train=["captions.tsv"],
            validation="captions.tsv",
            picture={"size": [48, 48]},
            target_tokenizer=TokenizerConfig(kind="words"),
            cache=str(tmp_path / "cache"),
        )
    )


def test_only_normalisation_that_is_trained_counts():
    assert learns_batch_statistics(model(TRAINED))
    assert not learns_batch_statistics(model(FROZEN))
    config = captioner_transformer.Config.model_validate({"encoder": FROZEN, "size": 8, "feed_forward_size": 8})
    assert not learns_batch_statistics(captioner_transformer.build(config, Dimensions(3, 30, height=32, width=32)))


def test_it_gets_captions_of_all_lengths_in_a_batch(data):
    lengths = data.train.target_lengths
    spread = {}
    for name, encoder in (("trained", TRAINED), ("frozen", FROZEN)):
        batches = training_batches(TRAINING, data, model(encoder), batch_tokens=300).epoch(0)
        assert sorted(np.concatenate(batches.rows).tolist()) == list(range(len(data.train)))
        assert all(len(rows) * lengths[rows].max() <= 300 for rows in batches.rows)
        spread[name] = [np.ptp(lengths[rows]) for rows in batches.rows]
    assert min(spread["trained"]) > 4, "a batch of single things, or of pairs, alone"
    assert np.mean(spread["frozen"]) < 2, "needless padding"
