"""The image classifier: its equations, what it cannot do, and that the attention shown is the one used."""

import numpy as np
import pytest
import torch
from torch.nn import functional
from torch.testing import assert_close

from checks import pictures as checks
from checks.pictures import CONVOLUTIONS, SEEN, classifier_model, pictures
from regard.attention.record import AttentionRecord
from regard.errors import UsageError
from regard.models import image_classifier
from regard.protocol import Batch, Dimensions, Model
from regard.symbols import BOS
from regard.training.loss import sequence_loss

KINDS = {
    "fully connected": {},
    "whole volume": {"convolutions": CONVOLUTIONS},
    "attention": {"convolutions": CONVOLUTIONS, "pooling": "attention"},
}
kinds = pytest.mark.parametrize("settings", KINDS.values(), ids=KINDS)


@kinds
def test_invariants(settings: dict) -> None:
    checks.a_picture_does_not_see_its_neighbours(classifier_model(**settings))
    checks.label_says_what_forward_says(classifier_model(**settings))


def test_fully_connected_by_its_equation() -> None:
    model, batch = classifier_model(), pictures()
    vector = batch.source.reshape(3, -1).numpy()
    for layer in model.hidden:
        vector = np.maximum(vector @ layer.weight.detach().numpy().T + layer.bias.detach().numpy(), 0)
    expected = vector @ model.readout.weight.detach().numpy().T + model.readout.bias.detach().numpy()
    assert np.abs(model.label(batch.source)[:, 0].detach().numpy() - expected).max() < 1e-10


def test_convolutions_and_attention_by_torch() -> None:
    model, batch = classifier_model(**KINDS["attention"]), pictures()
    one, two = (block.convolution for block in model.blocks)
    volume = functional.max_pool2d(functional.relu(functional.conv2d(batch.source, one.weight, one.bias, padding=1)), 2)
    volume = functional.relu(functional.conv2d(volume, two.weight, two.bias, stride=2, padding=1))
    assert tuple(volume.shape[2:]) == model.grid
    regions = volume.flatten(2).transpose(1, 2)
    weights = (regions @ model.pooling.query).softmax(-1)
    vector = (weights[..., None] * regions).sum(1)
    for layer in model.hidden:
        vector = functional.relu(layer(vector))
    record = AttentionRecord()
    assert_close(model.label(batch.source, record)[:, 0], model.readout(vector), rtol=0, atol=1e-10)
    assert_close(record.weights("pooling")[:, 0, 0], weights, rtol=0, atol=1e-12)


def test_the_weights_shown_are_those_used() -> None:
    model, batch, record = classifier_model(**KINDS["attention"]), pictures(), AttentionRecord()
    model.label(batch.source, record)
    looked = record.calls("pooling")[0]
    assert_close(looked.weights.sum(-1), torch.ones(3, 1, 1).double())
    seen = []
    model.hidden[0].register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    model.label(batch.source)
    assert_close(looked.context[:, 0, 0], seen[0], rtol=0, atol=1e-12)


def learnt(model: Model, batch: Batch, *, updates: int = 120) -> float:
    """Share of the labels that are right after so many updates on the batch."""
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(updates):
        loss = sequence_loss(model(batch), batch.labels)
        optimizer.zero_grad()
        (loss.total / loss.num_tokens).backward()
        optimizer.step()
    return float((model(batch).logits.argmax(-1) == batch.labels).double().mean())


@kinds
def test_learns_by_heart(settings: dict) -> None:
    torch.manual_seed(0)
    config = image_classifier.Config.model_validate({"hidden": [32], **settings})
    assert learnt(image_classifier.build(config, SEEN).double(), pictures(12)) == 1.0


def test_exclusive_or_needs_a_hidden_layer() -> None:
    """Two pixels, and whether they differ: no weights without a hidden layer can say that of all four pictures."""
    source = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]]).double().view(4, 1, 1, 2)
    batch = Batch(source, torch.tensor([[BOS, 4], [BOS, 5], [BOS, 5], [BOS, 4]]))
    share = {}
    for hidden in ([], [16]):
        torch.manual_seed(1)
        config = image_classifier.Config(hidden=hidden)
        model = image_classifier.build(config, Dimensions(1, 6, height=1, width=2)).double()
        share[len(hidden)] = learnt(model, batch, updates=300)
    assert share[1] == 1.0
    assert share[0] < 1.0


def test_what_does_not_fit_is_said() -> None:
    config = image_classifier.Config.model_validate({"convolutions": [{"width": 3, "pool": 8}, {"pool": 2}]})
    with pytest.raises(UsageError, match=r"convolutions\[1\] leaves nothing of a picture of 12 x 15"):
        image_classifier.build(config, SEEN)
    with pytest.raises(UsageError, match=r"say in `data\.picture`"):
        image_classifier.build(image_classifier.Config(), Dimensions(10, 10))
    with pytest.raises(ValueError, match="only convolutions make"):
        image_classifier.Config(pooling="attention")
