"""Attention as a picture: target rows, source columns, the darker the more weight (Bahdanau et al. 2015, figure 3)."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK, PAPER, RULE = "#1c2430", "#ffffff", "#d5dae1"
RAMP = ("#ffffff", "#d9e6f2", "#9dc3e0", "#4a90c2", "#1f5f99", "#0b2f57")  # one hue, lightness falls evenly
STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.size": 11,
    "text.color": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.edgecolor": RULE,
    "text.parse_math": False,  # a dollar sign in a sentence is a dollar sign
    "svg.fonttype": "none",  # words stay words: searchable, and any script the viewer has a font for
    "svg.hashsalt": "regard",  # the same attention gives the same bytes
}
NUMBERS_UP_TO = 16  # columns: with more, numbers in the cells are too small to read
CELL = 0.52  # inches
LETTER = 0.1  # inches, about
LONGEST_LABEL = 28  # letters; a longer word (an address, say) is cut on the picture


def heat_map(weights: np.ndarray, source: Sequence[str], target: Sequence[str], *, title: str = "") -> Figure:
    """One map of weights (target, source), words on both sides."""
    rows, columns = weights.shape
    with mpl.rc_context(STYLE):
        size = _size(rows, columns, source, target, cell=CELL, letter=LETTER)
        figure = Figure(figsize=size, facecolor=PAPER, layout="constrained")
        axes = figure.add_subplot()
        _paint(axes, weights)
        _label(axes, source, target)
        if columns <= NUMBERS_UP_TO:
            _write_numbers(axes, weights)
        if title:
            axes.set_xlabel(title, fontsize=9, color="#5b6675", labelpad=10)
    return figure


def head_wall(heads: Sequence[np.ndarray], source: Sequence[str], target: Sequence[str], *, title: str = "") -> Figure:
    """The maps (target, source) of all heads of one site side by side."""
    rows, columns = heads[0].shape
    across = math.ceil(math.sqrt(len(heads)))
    down = math.ceil(len(heads) / across)
    with mpl.rc_context(STYLE):
        width, height = _size(rows, columns, source, target, cell=0.28, letter=0.065)
        figure = Figure(figsize=(across * width, down * height), facecolor=PAPER, layout="constrained")
        for head, axes in enumerate(figure.subplots(down, across, squeeze=False).flat):
            if head >= len(heads):
                axes.set_visible(False)
                continue
            _paint(axes, heads[head])
            _label(axes, source, target, size=7.0)
            axes.set_xlabel(f"head {head + 1}", fontsize=8)
        if title:
            figure.suptitle(title, fontsize=10)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write PNG (2x), SVG or PDF by the name's ending; the bytes depend on the content alone."""
    with mpl.rc_context(STYLE):
        metadata = {"Date": None} if path.suffix == ".svg" else None
        figure.savefig(path, dpi=200, facecolor=PAPER, metadata=metadata)


def _size(
    rows: int, columns: int, source: Sequence[str], target: Sequence[str], *, cell: float, letter: float
) -> tuple[float, float]:
    """Width and height in inches that leave room for the words."""
    beside, above = (max(len(_short(word)) for word in words) * letter for words in (target, source))
    return cell * columns + beside + 1.2, cell * rows + above + 1.2


def _short(word: str) -> str:
    return word if len(word) <= LONGEST_LABEL else word[: LONGEST_LABEL - 1] + "…"


def _paint(axes: Axes, weights: np.ndarray) -> None:
    ramp = mpl.colors.LinearSegmentedColormap.from_list("regard", RAMP)
    axes.imshow(weights, cmap=ramp, vmin=0.0, vmax=1.0, aspect="equal", interpolation="nearest")
    axes.set_xticks(np.arange(-0.5, weights.shape[1]), minor=True)
    axes.set_yticks(np.arange(-0.5, weights.shape[0]), minor=True)
    axes.grid(which="minor", color=RULE, linewidth=0.6)
    axes.tick_params(which="both", length=0)


def _label(axes: Axes, source: Sequence[str], target: Sequence[str], *, size: float = 11.0) -> None:
    axes.xaxis.tick_top()
    slant = 0 if max(map(len, source), default=0) <= 4 else 45
    axes.set_xticks(range(len(source)), [_short(word) for word in source], rotation=slant, fontsize=size)
    for label in axes.get_xticklabels():
        label.set_horizontalalignment("left" if slant else "center")
        label.set_rotation_mode("anchor")
    axes.set_yticks(range(len(target)), [_short(word) for word in target], fontsize=size)


def _write_numbers(axes: Axes, weights: np.ndarray) -> None:
    for (row, column), weight in np.ndenumerate(weights):
        if weight >= 0.05:
            colour = PAPER if weight > 0.55 else INK
            axes.text(column, row, f"{weight:.2f}".lstrip("0"), ha="center", va="center", fontsize=8, color=colour)
