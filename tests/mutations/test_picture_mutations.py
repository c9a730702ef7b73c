"""Bugs that reading pictures and looking by glimpses have had elsewhere, planted: the check of each must go red."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from bugs import plain
from PIL import Image
from torch import Tensor
from torch.nn import functional

import layers.test_convolution as convolution_tests
import models.test_image_classifier as classifier_tests
from checks import glimpse as checks
from checks import pictures as picture_checks
from checks.pictures import glimpse_model
from checks.planted import Bug, green_then_red
from data import test_picture_corpora as corpus_tests
from data import test_picture_file as file_tests
from regard.data import picture_bytes
from regard.data.picture_reader import PictureReader
from regard.data.pictures import PictureFolder
from regard.layers.convolution import Convolution
from regard.models import glimpse
from regard.models.glimpse import GlimpseModel, Sensor
from regard.models.image_classifier import AttentionPooling

CUTS = plain(lambda: checks.the_sensor_cuts_out_what_is_there(5, (12, 15)))
EDGES = plain(checks.every_edge_can_be_seen)
WHO_LEARNS = plain(checks.the_reward_reaches_the_location_network_alone)
WHO_LEARNS_WITH_EYES = plain(lambda: checks.the_reward_reaches_the_location_network_alone(location_size=6))
UNBIASED = plain(lambda: checks.the_estimate_is_unbiased(baseline=0.0))
EXACT = plain(lambda: checks.the_model_estimates_the_exact_gradient(answers="every"))
EQUATIONS = plain(checks.follows_the_equations)
EQUATIONS_WITH_EYES = plain(lambda: checks.follows_the_equations(location_size=6))


def _height_for_both(corners: Any) -> Any:
    """As kevinzakka/recurrent-visual-attention has it: a wide picture's right edge cannot be seen."""
    return lambda self, sides, location, width: corners(self, (sides[0], sides[0]), location, width)


def _down_is_right(corners: Any) -> Any:
    return lambda self, sides, location, width: corners(self, sides, location.flip(-1), width)


def _rounded_otherwise(_: Any) -> Any:
    return lambda self, sides, location, width: ((location + 1) / 2 * location.new_tensor(sides)).floor() - width // 2


def _edge_repeated(_: Any) -> Any:
    def wrong(self: Sensor, pictures: Tensor, location: Tensor, width: int) -> Tensor:
        rows, columns = pictures.shape[-2:]
        corner = self.corners((rows, columns), location, width).long()
        steps = torch.arange(width)
        down, right = (corner[:, :1] + steps).clamp(0, rows - 1), (corner[:, 1:] + steps).clamp(0, columns - 1)
        found = pictures[torch.arange(len(pictures))[:, None, None], :, down[:, :, None], right[:, None, :]]
        return found.permute(0, 3, 1, 2)

    return wrong


def _every_other_pixel(_: Any) -> Any:
    def wrong(self: Sensor, pictures: Tensor, location: Tensor) -> Tensor:
        parts = (self._part(pictures, location, self.patch << scale) for scale in range(self.scales))
        return torch.stack([part[:, :, :: 1 << scale, :: 1 << scale] for scale, part in enumerate(parts)], 1)

    return wrong


def _next(*, state: bool = True, drawn: bool = True, squashed: bool = False) -> Any:
    """The location network with a detach forgotten, or the density taken of the clamped location."""

    def change(_: Any) -> Any:
        def wrong(self: GlimpseModel, seen: Tensor, core: Tensor, location: Tensor) -> Any:
            features = core.detach() if state else core
            features = features if self.eye is None else self.eye(seen, features, location)
            mean = torch.tanh(self.locate(features)) + (0 if self.eye is None else location)
            place = mean + self.std * torch.randn_like(mean) if self.training else mean
            place = place.detach() if drawn else place
            if squashed:
                place = place.clamp(-0.3, 0.3)
            return place.clamp(-1, 1), glimpse.Step(features, glimpse.log_density(place.detach(), mean, self.std))

        return wrong

    return change


def _without_the_square(_: Any) -> Any:
    """(x - m)^2 / 2s, as if s were the variance."""
    return lambda drawn, mean, std: -((drawn - mean).square() / (2 * std) + math.log(std)).sum(-1)


def _turned_round(_: Any) -> Any:
    return lambda self, volume: functional.conv2d(
        volume, self.weight.flip(-1, -2), self.bias, stride=self.stride, padding=self.padding
    )


def _plain_mean(_: Any) -> Any:
    return lambda self, regions, record: regions.mean(1)


def _clipped(_: Any) -> Any:
    return lambda image: Image.fromarray(np.asarray(image).clip(0, 255).astype(np.uint8))


BUGS = [
    Bug("the height is used for both axes", Sensor, "corners", _height_for_both, EDGES),
    Bug("locations are (right, down)", Sensor, "corners", _down_is_right, CUTS),
    Bug("odd patches are a pixel off", Sensor, "corners", _rounded_otherwise, CUTS),
    Bug("the edge is repeated, not 0", Sensor, "_part", _edge_repeated, CUTS),
    Bug("coarse scales skip pixels", Sensor, "forward", _every_other_pixel, CUTS),
    Bug("the reward reaches the core", GlimpseModel, "_next", _next(state=False), WHO_LEARNS),
    Bug("the reward reaches the core through the eye", GlimpseModel, "_next", _next(state=False), WHO_LEARNS_WITH_EYES),
    Bug("the answer reaches the location through the eye", GlimpseModel, "_next", _next(drawn=False),
        WHO_LEARNS_WITH_EYES),
    Bug("the eye names a place, not a step", GlimpseModel, "_next",
        lambda right: lambda self, seen, state, location: right(self, seen, state, location * 0), EQUATIONS_WITH_EYES),
    Bug("the answer reaches the location", GlimpseModel, "_next", _next(drawn=False), WHO_LEARNS),
    Bug("the location is squashed before its density", GlimpseModel, "_next", _next(squashed=True), EXACT),
    Bug("the deviation is taken for the variance", glimpse, "log_density", _without_the_square, UNBIASED),
    Bug("away from the reward", glimpse, "reinforce", lambda right: lambda *all_: -right(*all_), UNBIASED),
    Bug("the same, in the whole model", glimpse, "reinforce", lambda right: lambda *all_: -right(*all_), EXACT),
    Bug("a step is rewarded for what was answered before it", GlimpseModel, "_reinforce",
        lambda right: lambda self, steps, answers: right(self, steps, answers.roll(1, 0)), EXACT),
    Bug("only the last answer is learnt", GlimpseModel, "_learn",
        lambda _: lambda self, states, steps, labels: None, plain(checks.every_answer_is_learnt)),
    Bug("a glimpse is not told where it is", glimpse.GlimpseNetwork, "forward",
        lambda right: lambda self, seen, location: right(self, seen, location * 0), EQUATIONS),
    Bug("in use locations are drawn", GlimpseModel, "_next",
        lambda right: lambda self, *all_: right(self.train(), *all_),
        plain(lambda: picture_checks.label_says_what_forward_says(glimpse_model()))),
    Bug("filters are turned round", Convolution, "forward", _turned_round,
        plain(convolution_tests.test_the_filter_is_not_turned_round)),
    Bug("regions are averaged, not weighed", AttentionPooling, "forward", _plain_mean,
        plain(classifier_tests.test_convolutions_and_attention_by_torch)),
    Bug("16 bits are clipped", picture_bytes, "_eight_bits", _clipped,
        plain(file_tests.test_sixteen_bits_are_scaled_not_clipped)),
    Bug("channels last", PictureReader, "tensor",
        lambda right: lambda self, pixels: right(self, pixels).transpose(2, 3).contiguous(),
        plain(lambda: corpus_tests.test_fitting("pad"))),
]  # fmt: skip


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.what)
def test_the_check_is_green_without_the_bug_and_red_with_it(bug: Bug, monkeypatch: pytest.MonkeyPatch) -> None:
    green_then_red(bug, monkeypatch)


def test_a_root_that_is_not_checked_lets_everything_in(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check of the picture root goes red where names are joined to it and no more."""
    for name in "abc":
        (tmp_path / f"{name}.png").write_bytes(file_tests.encoded(file_tests.gradient(), "PNG"))
    monkeypatch.setattr(PictureFolder, "path", lambda self, name: self.root / name)
    with pytest.raises(AssertionError):
        corpus_tests.test_nothing_outside_the_root_is_opened(tmp_path, "../secret.png")
