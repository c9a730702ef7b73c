"""Glimpses: what the sensor sees, who learns from the reward, and that the estimate is the exact gradient."""

import math
from typing import Any

import pytest
import torch
from torch.nn import functional
from torch.testing import assert_close

from checks import glimpse as glimpse_checks
from checks import pictures as checks
from checks.pictures import glimpse_model, pictures
from regard.attention.record import AttentionRecord
from regard.models import glimpse
from regard.models.glimpse import Sensor
from regard.protocol import Dimensions

WAYS: list[dict[str, Any]] = [{}, {"answers": "every"}, {"location_size": 6}]


@pytest.mark.parametrize("settings", [*WAYS, {"policy": "random"}])
def test_invariants(settings: dict[str, Any]) -> None:
    checks.a_picture_does_not_see_its_neighbours(glimpse_model(**settings))
    checks.label_says_what_forward_says(glimpse_model(**settings))


@pytest.mark.parametrize("patch", [1, 3, 4, 5])
@pytest.mark.parametrize("sides", [(12, 15), (28, 56), (9, 9), (2, 3)])
def test_the_sensor_sees_what_cutting_out_by_hand_gives(patch: int, sides: tuple[int, int]) -> None:
    glimpse_checks.the_sensor_cuts_out_what_is_there(patch, sides)


def test_every_pixel_can_be_seen_also_at_the_far_edge_of_a_wide_picture() -> None:
    glimpse_checks.every_edge_can_be_seen()


def test_a_coarse_scale_is_the_mean_of_the_fine_pixels() -> None:
    picture = torch.arange(64.0).view(1, 1, 8, 8)
    fine, coarse = Sensor(4, 2)(picture, torch.zeros(1, 2))[0, :, 0]
    assert torch.equal(fine, picture[0, 0, 2:6, 2:6])
    assert torch.equal(coarse, functional.avg_pool2d(picture, 2)[0, 0])


@pytest.mark.parametrize("settings", [{}, {"location_size": 6}])
def test_the_equations(settings: dict[str, Any]) -> None:
    glimpse_checks.follows_the_equations(**settings)


class InParts:
    """A picture that gives squares of itself, and remembers which."""

    def __init__(self, picture: torch.Tensor) -> None:
        self.shape, self.asked = tuple(picture.shape), []
        self._padded = functional.pad(picture[0], (40, 40, 40, 40))

    def part(self, top: int, left: int, width: int) -> torch.Tensor:
        self.asked.append((top, left, width, width))
        return self._padded[:, top + 40 : top + 40 + width, left + 40 : left + 40 + width]


def test_a_picture_in_parts_is_seen_as_the_whole_and_nothing_else_is_asked_for() -> None:
    model, batch, record = glimpse_model(), pictures(1), AttentionRecord()
    picture = InParts(batch.source)
    whole = model.label(batch.source)
    assert torch.equal(model.label_parts(picture, record), whole)
    assert picture.asked == [tuple(box) for step in record.glimpses[0] for box in step.long().tolist()]
    random = glimpse_model(policy="random")
    assert torch.equal(random.label_parts(picture), random.label_parts(picture))


def test_the_record_holds_the_boxes_that_were_seen() -> None:
    model, batch, record = glimpse_model(), pictures(), AttentionRecord()
    cut = []
    model.sensor.register_forward_hook(lambda _, inputs, seen: cut.append((inputs[1], seen)))
    model.label(batch.source, record)
    boxes = record.glimpses
    assert boxes.shape == (3, 3, 2, 4)
    assert_close(boxes[:, 0, 0], torch.tensor([[4.0, 6.0, 4.0, 4.0]] * 3).double())  # the middle of 12 x 15
    for step, (_, seen) in enumerate(cut):
        for row, (top, left, height, width) in enumerate(boxes[:, step, 0].long().tolist()):
            padded = functional.pad(batch.source[row], (20, 20, 20, 20))
            found = padded[:, top + 20 : top + 20 + height, left + 20 : left + 20 + width]
            assert torch.equal(seen[row, 0], found)
    with pytest.raises(ValueError, match="no glimpse"):
        _ = AttentionRecord().glimpses


@pytest.mark.parametrize("settings", WAYS)
def test_only_the_location_network_and_the_baseline_learn_from_the_reward_and_neither_from_the_answer(
    settings: dict[str, Any],
) -> None:
    glimpse_checks.the_reward_reaches_the_location_network_alone(**settings)


def test_a_location_network_that_nobody_asks_is_refused() -> None:
    for settings in ({"num_glimpses": 1}, {"policy": "random"}):
        for name, value in (("location_size", 6), ("location_std", 0.3), ("reinforce_weight", 2.0)):
            with pytest.raises(ValueError, match=f"`{name}` has no effect"):
                glimpse_model(**{name: value}, **settings)


def test_the_answer_is_learnt_after_every_glimpse() -> None:
    glimpse_checks.every_answer_is_learnt()
    with pytest.raises(ValueError, match="no effect with one glimpse"):
        glimpse_model(num_glimpses=1, answers="every")


def test_the_estimate_is_the_exact_gradient_of_a_closed_form() -> None:
    """One axis: E[R] = P(l > a) = 1 - Phi((a - m) / s), so dE/dm = phi((a - m) / s) / s."""
    glimpse_checks.the_estimate_is_unbiased(baseline=0.0)


def test_a_baseline_changes_the_spread_but_not_the_mean() -> None:
    without = glimpse_checks.the_estimate_is_unbiased(baseline=0.0)
    with_ = glimpse_checks.the_estimate_is_unbiased(baseline=0.3)
    assert with_ < 0.9 * without


@pytest.mark.parametrize("settings", WAYS)
def test_the_whole_model_climbs_the_exact_expected_reward(settings: dict[str, Any]) -> None:
    """Two glimpses on one picture: every place of the second, with its probability, against many draws."""
    glimpse_checks.the_model_estimates_the_exact_gradient(**settings)


def test_in_use_nothing_is_random_and_training_draws() -> None:
    model, batch = glimpse_model(), pictures()
    assert torch.equal(model.label(batch.source), model.label(batch.source))
    model.train()
    assert not torch.equal(model.label(batch.source), model.label(batch.source))


def test_looks_where_the_reward_is() -> None:
    """The answer is in one of four quadrants; which, the middle says."""
    assert glimpse_checks.error_after_training(updates=300, location_std=0.3) < 0.05
    assert glimpse_checks.error_after_training(updates=300, location_std=0.3, location_size=32) < 0.05
    assert glimpse_checks.error_after_training(updates=150, policy="random") > 0.3


def test_the_cost_is_that_of_the_glimpses() -> None:
    small, large = (glimpse_model(dimensions=Dimensions(2, 9, height=side, width=side)) for side in (16, 400))
    batches = [pictures(dimensions=Dimensions(2, 9, height=side, width=side)) for side in (16, 400)]
    assert small.flops(batches[0]) == large.flops(batches[1])
    assert sum(p.numel() for p in small.parameters()) == sum(p.numel() for p in large.parameters())


def test_log_density_is_that_of_the_normal_distribution() -> None:
    drawn, mean = torch.randn(5, 2), torch.randn(5, 2)
    expected = torch.distributions.Normal(mean, 0.3).log_prob(drawn).sum(-1)
    assert_close(glimpse.log_density(drawn, mean, 0.3), expected)
    assert math.isclose(float(glimpse.log_density(mean, mean, 1.0)[0]), -math.log(2 * math.pi), rel_tol=1e-6)
