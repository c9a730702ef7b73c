"""Text classifiers: their equations, what every labeller keeps, and what only a hidden layer can learn."""

import pytest
import torch
from pydantic import ValidationError

from checks import text_classifier as checks
from checks.making import UNSHARED
from checks.text_classifier import text_classifier_model
from regard.models import text_classifier
from regard.protocol import Decodable, Dimensions, Labeller

SHAPES = {
    "fully connected": {"preset": "fully_connected"},
    "two hidden layers": {"preset": "fully_connected", "pooling": "max", "hidden_layers": 2},
    "cnn": {},
    "cnn of even widths": {"widths": [1, 2, 4], "pooling": "mean"},
    "rnn": {"preset": "rnn"},
    "lstm": {"preset": "lstm", "num_layers": 2},
    "bidirectional": {"preset": "lstm", "bidirectional": True, "pooling": "concat"},
    "attention": {"preset": "attention"},
    "attention over a CNN": {"pooling": "attention", "hidden_layers": 1},
}
BY_SHAPE = pytest.mark.parametrize("shape", SHAPES)


def make(shape):
    return lambda **settings: text_classifier_model(**(SHAPES[shape] | settings))


@BY_SHAPE
def test_a_padded_batch_follows_the_equations_of_each_text(shape):
    checks.follows_the_equations(**SHAPES[shape])


@BY_SHAPE
def test_padding_and_neighbours_change_nothing(shape):
    checks.padding_changes_nothing(make(shape))


@BY_SHAPE
def test_every_parameter_learns(shape):
    checks.every_parameter_learns(make(shape))


@pytest.mark.parametrize("shape", ["cnn", "rnn", "bidirectional", "attention"])
def test_the_order_of_words_matters(shape):
    checks.the_order_of_words_matters(make(shape))


def test_in_a_bag_the_order_does_not_matter():
    with pytest.raises(AssertionError):
        checks.the_order_of_words_matters(make("fully connected"))


def test_the_weights_are_those_that_were_used():
    checks.the_weights_are_those_that_were_used()


@pytest.mark.parametrize("preset", ["fully_connected", "cnn", "rnn", "lstm", "attention"])
def test_it_learns_one_batch_by_heart(preset):
    torch.manual_seed(0)
    config = text_classifier.Config(preset=preset, embedding_size=12, size=12, dropout=0.0)
    checks.learned_by_heart(text_classifier.build(config, UNSHARED))


def test_exclusive_or_needs_a_hidden_layer():
    assert checks.exclusive_or(hidden_layers=1) == 1
    assert checks.exclusive_or(hidden_layers=0) < 1


def test_it_labels_and_does_not_generate():
    assert isinstance(text_classifier_model(), Labeller)
    assert not isinstance(text_classifier_model(), Decodable)


@pytest.mark.parametrize(
    ("preset", "parameters"),
    [
        ("fully_connected", 128 * 128 + 128),
        ("cnn", 128 * 128 * (3 + 4 + 5) + 3 * 128),
        ("rnn", 2 * 128 * 128 + 2 * 128),
        ("lstm", 4 * (2 * 128 * 128 + 2 * 128)),
        ("attention", 2 * 4 * (64 * (128 + 64) + 2 * 64) + 128 * 128 + 2 * 128),
    ],
)
def test_parameters_are_as_many_as_the_equations_have(preset, parameters):
    with torch.device("meta"):
        model = text_classifier.build(text_classifier.Config(preset=preset), Dimensions(1000, 10))
    pooled = model.readout.in_features
    total = sum(parameter.numel() for parameter in model.parameters())
    assert total == parameters + 1000 * 128 + (pooled + 1) * 10


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"preset": "cnn", "pooling": "last"}, "needs a reader with a last state"),
        ({"preset": "rnn", "widths": [2]}, "widths have no effect"),
        ({"preset": "fully_connected", "hidden_layers": 0, "size": 9}, "size has no effect"),
        ({"widths": [0]}, "at least one word"),
        ({"bidirectional": True}, "have no effect with reader cnn"),
        ({"preset": "lstm", "bidirectional": True, "size": 5}, "make it even"),
    ],
)
def test_what_cannot_be_is_refused(settings, message):
    with pytest.raises(ValidationError, match=message):
        text_classifier.Config(**settings)
