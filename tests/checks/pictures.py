"""Random models that read pictures, in float64, and pictures for them."""

from typing import Any

import torch

from checks.making import float64, randomise
from regard.models import glimpse, image_classifier
from regard.protocol import Batch, Dimensions, Model
from regard.symbols import BOS

SEEN = Dimensions(2, 9, height=12, width=15)
CONVOLUTIONS = [{"filters": 4, "width": 3, "pool": 2}, {"filters": 6, "width": 3, "stride": 2}]


def classifier_model(*, dimensions: Dimensions = SEEN, **settings: Any) -> Model:
    config = image_classifier.Config.model_validate({"hidden": [10, 7], **settings})
    with float64():
        model = image_classifier.build(config, dimensions)
    randomise(model)
    return model.eval()


def glimpse_model(*, dimensions: Dimensions = SEEN, **settings: Any) -> Model:
    config = glimpse.Config.model_validate(
        {"num_glimpses": 3, "patch": 4, "scales": 2, "glimpse_size": 5, "size": 8, **settings}
    )
    with float64():
        model = glimpse.build(config, dimensions)
    randomise(model)
    return model.eval()


def pictures(number: int = 3, *, dimensions: Dimensions = SEEN, seed: int = 1) -> Batch:
    """Noise, each picture with a label of its own."""
    generator = torch.Generator().manual_seed(seed)
    shape = number, dimensions.source, dimensions.height, dimensions.width
    source = torch.randn(shape, generator=generator, dtype=torch.double)
    labels = torch.arange(number) % (dimensions.target - 4) + 4
    return Batch(source, torch.stack([torch.full((number,), BOS), labels], 1))


def a_picture_does_not_see_its_neighbours(model: Model) -> None:
    batch = pictures(4)
    together = model(batch).logits
    for row in range(4):
        alone = model(Batch(batch.source[row : row + 1], batch.target[row : row + 1])).logits
        torch.testing.assert_close(together[row : row + 1], alone, rtol=0, atol=1e-12)


def label_says_what_forward_says(model: Model) -> None:
    batch = pictures()
    assert torch.equal(model.label(batch.source), model(batch).logits)
    assert model.label(batch.source).shape == (3, 1, SEEN.target)
