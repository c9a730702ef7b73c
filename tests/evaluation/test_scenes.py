"""The scenes are what their captions say, the same seed gives the same, and the pointing game knows hit from miss."""

import numpy as np
import pytest
import torch

from regard.evaluation.pointing import Looked, most_looked_at, pointing_game
from regard.evaluation.scenes import COLOURS, HELD_OUT, SHAPES, SIDE, Box, Scene, draw_scene, make_scenes

SCENES = make_scenes(120, seed=3)


def test_the_same_seed_gives_the_same_scenes_and_another_gives_others():
    assert make_scenes(120, seed=3) == SCENES
    assert make_scenes(120, seed=4) != SCENES
    assert draw_scene(SCENES[0]).tobytes() == draw_scene(SCENES[0]).tobytes()


def test_held_out_pairs_are_in_their_own_scenes_and_nowhere_else():
    def pairs(scene: Scene) -> set:
        return {(thing.colour, thing.shape) for thing in scene.things}

    assert not any(pairs(scene) & HELD_OUT for scene in SCENES)
    held_out = make_scenes(60, seed=3, pairs="held out")
    assert all(pairs(scene) & HELD_OUT for scene in held_out)
    words = {word for scene in SCENES for thing in scene.things for word in thing.words}
    assert words >= {*COLOURS, *SHAPES}, "a word that no training caption has could never be said"


def test_boxes_hold_their_objects_and_nothing_lies_outside_them():
    for scene in SCENES[:40]:
        pixels = np.asarray(draw_scene(scene)).astype(int)
        is_drawn = np.abs(pixels - pixels[0, 0]).sum(-1) > 30
        for thing in scene.things:
            left, top, right, bottom = thing.box
            colour = np.abs(pixels[top:bottom, left:right] - COLOURS[thing.colour]).sum(-1) < 12
            assert colour.mean() > 0.3, thing
            is_drawn[top:bottom, left:right] = False
        assert not is_drawn.any()


def test_the_relation_is_what_can_be_seen():
    two = [scene for scene in SCENES if len(scene.things) == 2]
    assert {scene.relation for scene in two} == {"left of", "above"}
    assert any(len(scene.things) == 1 for scene in SCENES)
    for scene in two:
        first, second = (thing.box for thing in scene.things)
        across, down = second.left + second.right - first.left - first.right, second.top + second.bottom
        down -= first.top + first.bottom
        assert (across if scene.relation == "left of" else down) > 0
        assert (abs(across) > abs(down)) == (scene.relation == "left of")
        assert max(second.left - first.right, first.left - second.right, second.top - first.bottom,
                   first.top - second.bottom) >= 3  # fmt: skip


def test_mentions_are_the_words_that_name_an_object():
    for scene in SCENES:
        words = scene.caption.split()
        assert [words[place] for place, _ in scene.mentions] == [w for thing in scene.things for w in thing.words]
        for place, thing in scene.mentions:
            assert words[place] in thing.words


def test_the_pointing_game_by_hand():
    maps = torch.zeros(2, 2, 4)
    maps[0, 0, 3] = maps[1, 1, 0] = 1  # (x, y) = (42, 12) and (6, 36) of 48 x 48
    assert most_looked_at(maps[0], SIDE, SIDE) == (42, 12)
    assert most_looked_at(maps[1], SIDE, SIDE) == (6, 36)
    right_box, left_box = Box(36, 0, 48, 24), Box(0, 24, 12, 48)
    result = pointing_game([Looked(maps, [(0, right_box), (1, left_box)])], height=SIDE, width=SIDE)
    assert (result.hits, result.num_words) == (1, 2)
    assert result.chance == pytest.approx(1 / 8)
    result = pointing_game(
        [Looked(maps, [(0, right_box)]), Looked(maps.flip(0), [(0, right_box)])], height=SIDE, width=SIDE
    )
    assert (result.hits, result.control) == (0.5, 1)
    with pytest.raises(ValueError, match="no word names anything"):
        pointing_game([Looked(maps, [])], height=SIDE, width=SIDE)
