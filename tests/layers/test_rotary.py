"""Positions as turns: the formula, the distance, and the ends of the table."""

import pytest
import torch
from torch.testing import assert_close

from checks import rotary as checks
from regard.layers.positional_encoding import Rotary


def test_vectors_are_turned_as_in_the_paper():
    checks.vectors_are_turned_as_in_the_paper()


def test_scores_depend_on_the_distance_alone():
    checks.scores_depend_on_the_distance_alone()


def test_a_turn_keeps_the_length_and_the_first_position_everything():
    vectors = checks.example(4, 7, 6)
    turned = checks.rotary(6)(vectors)
    assert_close(turned.norm(dim=-1), vectors.norm(dim=-1), rtol=0, atol=1e-12)
    assert_close(turned[:, 0], vectors[:, 0], rtol=0, atol=0)


def test_half_precision_stays_half_and_is_close():
    vectors = checks.example(2, 40, 16).float()
    half = Rotary(16)(vectors.bfloat16())
    assert half.dtype == torch.bfloat16
    assert (half - Rotary(16)(vectors)).abs().max() < 0.03 * vectors.abs().max()


def test_turns_are_no_part_of_a_saved_model():
    assert not Rotary(8).state_dict()


def test_an_odd_size_has_no_pairs():
    with pytest.raises(ValueError, match="rotary positions turn pairs of components, but a head has 3"):
        Rotary(3)
