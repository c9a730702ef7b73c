"""Attention in a terminal: the darker the block, the more weight."""

import unicodedata
from collections.abc import Sequence

import numpy as np

SHADES = " ░▒▓█"
CELL = 2  # columns of the terminal a cell


def text_map(weights: np.ndarray, source: Sequence[str], target: Sequence[str]) -> str:
    """The map (target, source) as lines of text: source words run downwards over their columns."""
    margin = max((_width(word) for word in target), default=0)
    height = max((len(word) for word in source), default=0)
    lines = [
        " " * (margin + 1)
        + "".join(
            _pad(word[row - height + len(word)], CELL) if row >= height - len(word) else " " * CELL for word in source
        )
        for row in range(height)
    ]
    for word, row in zip(target, weights, strict=True):
        blocks = "".join(
            SHADES[min(len(SHADES) - 1, round(float(weight) * (len(SHADES) - 1) + 0.15))] * CELL for weight in row
        )
        lines.append(" " * (margin - _width(word)) + word + " " + blocks)
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _pad(character: str, width: int) -> str:
    return character + " " * max(0, width - _width(character))


def _width(text: str) -> int:
    """Columns that a terminal gives to `text`: two for wide characters, none for combining ones."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)
