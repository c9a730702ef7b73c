import re

import numpy as np
import pytest

from regard.show.picture import DARKEST, Panel, glimpse_path, overlay, strip
from regard.show.plot import save

GREY = np.full((12, 16, 3), 200, np.uint8)


def test_the_strongest_region_is_as_it_is_and_the_others_are_dark():
    weights = np.zeros((3, 4))
    weights[1, 2] = 0.3
    shown = overlay(GREY, weights, smooth=False)
    assert (shown[4:8, 8:12] == 200).all()
    outside = np.ones((12, 16), bool)
    outside[4:8, 8:12] = False
    assert (shown[outside] == round(200 * DARKEST)).all()


def test_smooth_light_is_brightest_at_the_same_place_also_when_rows_and_columns_differ():
    weights = np.full((3, 4), 0.01)
    weights[2, 0] = 0.9
    shown = overlay(GREY, weights)[..., 0]
    row, column = np.unravel_index(shown.argmax(), shown.shape)
    assert (row >= 8, column < 4) == (True, True)
    assert shown[10, 1] > 3 * shown[2, 14]


def test_no_weight_at_all_is_dark_and_grey_pictures_are_pictures():
    assert (overlay(GREY[..., :1], np.zeros((2, 2))) == round(200 * DARKEST)).all()


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_a_strip_names_every_word_and_its_peak(tmp_path, ending):
    weights = np.array([[0.1, 0.6], [0.2, 0.1]])
    panels = [Panel("", None), *(Panel(word, weights) for word in ["ein", "roter", "$Ball$", "é", "<b>", "x", "y"])]
    path = tmp_path / f"strip.{ending}"
    save(strip(GREY, panels, title="caption"), path)
    assert path.stat().st_size > 1000
    if ending == "svg":
        texts = re.findall(r"<text[^>]*>([^<]*)</text>", path.read_text())
        assert [text.strip() for text in texts].count("most 0.60") == 7
        assert {"roter", "$Ball$", "é", "&lt;b&gt;", "caption"} <= {text.strip() for text in texts}


def test_the_path_of_glimpses_is_numbered_and_keeps_to_the_picture(tmp_path):
    boxes = np.array([[(2, 3, 4, 4), (0, 1, 8, 8)], [(10, 14, 4, 4), (8, 12, 8, 8)]], float)
    figure = glimpse_path(GREY[..., :1], boxes, title="two glimpses")
    axes = figure.axes[0]
    assert axes.get_xlim() == (-0.5, 15.5)
    assert axes.get_ylim() == (11.5, -0.5)
    assert [text.get_text() for text in axes.texts] == ["1", "2"]
    assert [text.get_position() for text in axes.texts] == [(4.5, 3.5), (15.5, 11.5)]
    outlines = [(patch.get_x(), patch.get_y(), patch.get_width(), patch.get_height()) for patch in axes.patches]
    assert outlines[:2] == [(2.5, 1.5, 4, 4), (0.5, -0.5, 8, 8)]
    save(figure, tmp_path / "path.png")
    assert (tmp_path / "path.png").stat().st_size > 1000
