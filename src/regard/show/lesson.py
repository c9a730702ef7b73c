"""What a lesson is: plain data, the same for the page (which moves to its `place`) and for `regard show --explain`."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

Panel = Literal["map", "arithmetic", "heads", "step", "tree"]


class Place(NamedTuple):
    """What the page shows beside a lesson: an attention, its head, a step, a key, and the panel to look at."""

    site: str | None
    head: int
    step: int
    key: int
    panel: Panel


class Question(NamedTuple):
    """A question and its answer: a number (right within `tolerance`) or one of `options`."""

    text: str
    answer: float | str
    tolerance: float = 0.0
    options: Sequence[str] = ()


class Lesson(NamedTuple):
    """One step of the lecture: what it is called, its equation, the same with numbers, and a question."""

    title: str
    equation: str
    lines: list[str]
    question: Question
    place: Place


def as_data(made: Sequence[Lesson]) -> list[dict[str, Any]]:
    """Lessons as what JSON can hold."""
    return [each._asdict() | {"question": each.question._asdict(), "place": each.place._asdict()} for each in made]
