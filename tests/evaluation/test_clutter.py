import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from regard.data.pictures import read_idx, write_idx
from regard.evaluation.clutter import scatter

DIGITS = np.random.default_rng(3).integers(1, 255, (6, 10, 9), dtype=np.uint8)
LABELS = np.arange(6, dtype=np.uint8)


def test_the_digit_is_whole_where_its_box_says_and_nothing_else_is_without_pieces():
    found = scatter(DIGITS, LABELS, seed=1, side=20, pieces=0)
    for picture, digit, (top, left, height, width) in zip(found.pictures, DIGITS, found.boxes, strict=True):
        assert np.array_equal(picture[top : top + height, left : left + width], digit)
        assert (picture > 0).sum() == digit.size
    assert len({tuple(box) for box in found.boxes.tolist()}) > 3
    assert np.array_equal(found.labels, LABELS)


def test_pieces_lie_over_nothing_of_the_digit_that_is_lighter_and_the_seed_decides_all():
    found = scatter(DIGITS, LABELS, seed=1, side=20, pieces=3, piece_side=4)
    for picture, digit, (top, left, height, width) in zip(found.pictures, DIGITS, found.boxes, strict=True):
        assert (picture[top : top + height, left : left + width] >= digit).all()
    clean = scatter(DIGITS, LABELS, seed=1, side=20, pieces=0).pictures
    added = (found.pictures > 0).sum((1, 2)) - (clean > 0).sum((1, 2))
    assert (added <= 3 * 16).all()
    assert added.mean() > 10
    assert np.array_equal(found.pictures, scatter(DIGITS, LABELS, seed=1, side=20, pieces=3, piece_side=4).pictures)
    assert not np.array_equal(found.pictures, scatter(DIGITS, LABELS, seed=2, side=20, pieces=3, piece_side=4).pictures)
    with pytest.raises(ValueError, match="do not fit"):
        scatter(DIGITS, LABELS, seed=1, side=9)


def test_the_recipe_s_script_writes_idx_files(tmp_path):
    for split in ("train", "t10k"):
        write_idx(tmp_path / f"{split}-images-idx3-ubyte", DIGITS)
        write_idx(tmp_path / f"{split}-labels-idx1-ubyte", LABELS)
    script = Path(__file__).parents[2] / "recipes" / "mnist_clutter.py"
    subprocess.run([sys.executable, script, tmp_path, tmp_path / "out"], check=True, capture_output=True)
    assert read_idx(tmp_path / "out" / "train-images-idx3-ubyte", num_axes=3).shape == (12, 60, 60)
    assert read_idx(tmp_path / "out" / "t10k-labels-idx1-ubyte", num_axes=1).tolist() == LABELS.tolist()
