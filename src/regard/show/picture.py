"""Attention over a picture: light where the weight is, a strip with a panel for each word, the path of glimpses."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from PIL import Image

from regard.show.plot import INK, PAPER, STYLE

DARKEST = 0.2  # what is left of a pixel without weight
PATH = "#ffb000"  # seen on light and on dark pictures
PANEL = 1.9  # inches
ACROSS = 6  # panels in a row

Pixels = NDArray[np.uint8]
Weights = NDArray[np.floating]


class Panel(NamedTuple):
    """One word, or step, and the weights (rows, columns) of the regions while it was said; None draws it plain."""

    title: str
    weights: Weights | None


def overlay(pixels: Pixels, weights: Weights, *, smooth: bool = True) -> Pixels:
    """The picture (height, width, 3) with light where the weights (rows, columns) are.

    The regions tile the picture evenly; the one with most weight is as it is. `smooth`
    runs them into each other, else each shows as a rectangle.
    """
    height, width = pixels.shape[:2]
    most = float(weights.max())
    share = np.asarray(weights, np.float32) / (most if most > 0 else 1.0)
    how = Image.Resampling.BICUBIC if smooth else Image.Resampling.NEAREST
    large = np.asarray(Image.fromarray(share).resize((width, height), how)).clip(0.0, 1.0)
    return (in_colour(pixels) * (DARKEST + (1 - DARKEST) * large[..., None])).round().astype(np.uint8)


def in_colour(pixels: Pixels) -> Pixels:
    """Three channels, also of a grey picture."""
    return np.repeat(pixels, 3, axis=-1) if pixels.shape[-1] == 1 else pixels


def strip(pixels: Pixels, panels: Sequence[Panel], *, smooth: bool = True, title: str = "") -> Figure:
    """A panel for each word, from left to right; below it how much of the weight its strongest region has."""
    across = min(ACROSS, len(panels))
    down = math.ceil(len(panels) / across)
    aspect = pixels.shape[0] / pixels.shape[1]
    with mpl.rc_context(STYLE):
        size = across * PANEL, down * (PANEL * aspect + 0.5) + (0.3 if title else 0.0)
        figure = Figure(figsize=size, facecolor=PAPER, layout="constrained")
        for place, axes in enumerate(figure.subplots(down, across, squeeze=False).flat):
            if place >= len(panels):
                axes.set_visible(False)
                continue
            word, weights = panels[place]
            _picture(axes, pixels if weights is None else overlay(pixels, weights, smooth=smooth))
            axes.set_title(word, fontsize=10, pad=3)
            if weights is not None:
                axes.set_xlabel(f"most {float(weights.max()):.2f}", fontsize=7, color="#5b6675", labelpad=2)
        if title:
            figure.suptitle(title, fontsize=10)
    return figure


def glimpse_path(pixels: Pixels, boxes: NDArray[np.floating], *, title: str = "") -> Figure:
    """The picture with what each glimpse saw: `boxes[step, scale]` is (top, left, height, width) in pixels.

    Glimpses are numbered from 1 at their centres and joined in order; of each the finest scale is drawn boldly.
    """
    aspect = pixels.shape[0] / pixels.shape[1]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.2, 4.2 * aspect + 0.4), facecolor=PAPER, layout="constrained")
        axes = figure.add_subplot()
        _picture(axes, in_colour(pixels))
        centres = [_centre(step[0]) for step in boxes]
        axes.plot(*zip(*centres, strict=True), color=PATH, linewidth=1.2, alpha=0.8)
        for number, (step, (x, y)) in enumerate(zip(boxes, centres, strict=True), start=1):
            for scale, (top, left, height, width) in enumerate(step.tolist()):
                axes.add_patch(
                    Rectangle(
                        (left - 0.5, top - 0.5), width, height, fill=False, edgecolor=PATH,
                        linewidth=1.4 if scale == 0 else 0.6, alpha=1.0 if scale == 0 else 0.6,
                    )
                )  # fmt: skip
            axes.text(
                x, y, str(number), ha="center", va="center", fontsize=8, color=INK,
                bbox={"boxstyle": "circle,pad=0.15", "facecolor": PATH, "edgecolor": "none"},
            )  # fmt: skip
        # Boxes that reach over the edge must not change what is seen of the picture.
        axes.set_xlim(-0.5, pixels.shape[1] - 0.5)
        axes.set_ylim(pixels.shape[0] - 0.5, -0.5)
        if title:
            axes.set_title(title, fontsize=10)
    return figure


def _centre(box: NDArray[np.floating]) -> tuple[float, float]:
    top, left, height, width = box.tolist()
    return left + (width - 1) / 2, top + (height - 1) / 2


def _picture(axes: Axes, pixels: Pixels) -> None:
    axes.imshow(pixels, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.tick_params(length=0)
