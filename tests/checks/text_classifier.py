"""Text classifiers against their equations, text by text; called by the tests and by the mutation suite."""

from checks.making import UNSHARED, float64, randomise
from regard.models import text_classifier
from regard.models.text_classifier import TextClassifier
from regard.protocol import Dimensions


def text_classifier_model(*, dimensions: Dimensions = UNSHARED, **settings: object) -> TextClassifier:
    """A tiny classifier, all parameters random, in evaluation."""
    with float64():
        model = text_classifier.build(
            text_classifier.Config(**({"embedding_size": 5, "size": 6, "dropout": 0.5} | settings)), dimensions
        )
    randomise(model)
    return model.eval()
