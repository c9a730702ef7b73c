"""Attention in a terminal: the darker the block, the more weight; and the lessons as text."""

import textwrap
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

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


def lesson_text(source: str, translation: str, lessons: Sequence[Mapping[str, Any]]) -> str:
    """Every lesson with its question, and the answers at the end, where nobody sees them by accident."""
    parts, answers = [f"{source}\n{translation}\n"], list[str]()
    for number, lesson in enumerate(lessons, 1):
        question = lesson["question"]
        lines = [line for text in lesson["lines"] for line in textwrap.wrap(text, 100, subsequent_indent="  ")]
        options = f" ({', '.join(question['options'])})" if question["options"] else ""
        body = "\n".join(f"   {line}" for line in lines)
        parts.append(
            f"{number}. {lesson['title']}\n   {lesson['equation']}\n\n{body}\n\n   ? {question['text']}{options}\n"
        )
        answer = question["answer"]
        answers.append(f"{number}. {answer if isinstance(answer, str) else f'{answer:.4g}'}")
    return "\n".join([*parts, "Answers: " + "   ".join(answers)]) + "\n"


def _pad(character: str, width: int) -> str:
    return character + " " * max(0, width - _width(character))


def _width(text: str) -> int:
    """Columns that a terminal gives to `text`: two for wide characters, none for combining ones."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)
