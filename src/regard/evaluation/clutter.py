"""Digits lost in clutter: a picture far larger than what matters in it (Mnih et al. 2014, section 4.2).

The yardstick for looking by glimpses: a network that reads everything alike must learn every place anew, and is misled
by pieces of other digits.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Pictures = NDArray[np.uint8]  # (number, rows, columns)


class Scattered(NamedTuple):
    """Pictures, the label of the digit in each, and its box (top, left, height, width)."""

    pictures: Pictures
    labels: NDArray[np.uint8]
    boxes: NDArray[np.int64]


def scatter(
    digits: Pictures, labels: NDArray[np.uint8], *, seed: int, side: int = 60, pieces: int = 4, piece_side: int = 8
) -> Scattered:
    """Each digit at a uniformly random place of a dark picture, among `pieces` squares cut out of other digits.

    Where things overlap the lighter pixel stays. The same arguments give the same pictures.

    Raises:
        ValueError: a digit, or a piece, does not fit.
    """
    number, height, width = digits.shape
    if max(height, width) > side or piece_side > min(height, width):
        raise ValueError(f"digits of {height} x {width} and pieces of {piece_side} do not fit into {side} x {side}")
    draw = np.random.Generator(np.random.PCG64(seed))
    pictures = np.zeros((number, side, side), np.uint8)
    corners = _corners(draw, number, (side - height, side - width))
    for row, (top, left) in enumerate(corners.tolist()):
        pictures[row, top : top + height, left : left + width] = digits[row]
    for _ in range(pieces):
        others = draw.permutation(number)
        cuts = _corners(draw, number, (height - piece_side, width - piece_side))
        places = _corners(draw, number, (side - piece_side, side - piece_side))
        for row in range(number):
            cut_top, cut_left = cuts[row].tolist()
            top, left = places[row].tolist()
            piece = digits[int(others[row]), cut_top : cut_top + piece_side, cut_left : cut_left + piece_side]
            part = pictures[row, top : top + piece_side, left : left + piece_side]
            np.maximum(part, piece, out=part)
    boxes = np.concatenate([corners, np.tile([height, width], (number, 1))], 1)
    return Scattered(pictures, labels.copy(), boxes)


def _corners(draw: np.random.Generator, number: int, most: tuple[int, int]) -> NDArray[np.int64]:
    """Random (top, left), up to `most`."""
    return np.stack([draw.integers(limit, size=number, endpoint=True) for limit in most], 1)
