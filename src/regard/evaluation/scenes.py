"""Synthetic scenes: one or two coloured shapes with the only right caption, and where each named object lies.

The yardstick for captions and for where attention looks: a photograph has no single right caption and no known boxes.
Everything follows from a seed. Some pairs of colour and shape are held out, to ask whether a model has learnt colours
and shapes or only the pairs that it has seen.
"""

import random
from typing import Literal, NamedTuple

from PIL import Image, ImageDraw

COLOURS = {
    "red": (214, 39, 40),
    "green": (44, 150, 44),
    "blue": (31, 90, 200),
    "yellow": (240, 200, 20),
    "purple": (140, 60, 170),
    "black": (25, 25, 25),
}
SHAPES = ("circle", "square", "triangle", "cross")
SIZES = {"small": 5, "large": 9}  # half the side of the box, of a picture with a side of `SIDE`
SIDE = 48
HELD_OUT = frozenset({("red", "triangle"), ("blue", "circle"), ("yellow", "cross"), ("purple", "square")})
# Two more, for whoever chooses settings by pairs that a model has not seen: `HELD_OUT` are for the end.
HELD_OUT_FOR_TUNING = frozenset({("green", "circle"), ("black", "cross")})

_BACKGROUND = (238, 238, 232)
_SMOOTHING = 4  # drawn so many times as large, then averaged
_GAP = 3  # pixels between two objects
_CLEAR = 7  # by so much one distance must exceed the other for "left of" or "above" to be the only right word

Pairs = Literal["seen", "held out"]


class Box(NamedTuple):
    """In pixels, the sides included at left and top and excluded at right and bottom."""

    left: int
    top: int
    right: int
    bottom: int

    def contains(self, x: float, y: float) -> bool:
        """Whether a point lies in it."""
        return self.left <= x < self.right and self.top <= y < self.bottom

    @property
    def area(self) -> int:
        """In pixels."""
        return (self.right - self.left) * (self.bottom - self.top)


class Thing(NamedTuple):
    """One object of a scene."""

    size: str
    colour: str
    shape: str
    box: Box

    @property
    def words(self) -> tuple[str, str, str]:
        """Its size, colour and shape, as a caption names them."""
        return self.size, self.colour, self.shape


class Scene(NamedTuple):
    """Objects in the order in which the caption names them, and the word between them (None of a single one)."""

    things: tuple[Thing, ...]
    relation: str | None

    @property
    def caption(self) -> str:
        """The only right one: `a small red circle left of a large blue square`."""
        return f" {self.relation} ".join("a " + " ".join(thing.words) for thing in self.things)

    @property
    def pairs(self) -> set[tuple[str, str]]:
        """The colour and the shape of each object."""
        return {(thing.colour, thing.shape) for thing in self.things}

    @property
    def mentions(self) -> list[tuple[int, Thing]]:
        """The words of the caption that name something to be looked at, by their places, each with its object."""
        start = [1, 4 + 1 + len((self.relation or "").split())]
        return [(start[number] + k, thing) for number, thing in enumerate(self.things) for k in range(3)]


def make_scenes(number: int, *, seed: int, pairs: Pairs = "seen") -> list[Scene]:
    """`number` scenes with pairs of colour and shape that are not held out; or each with at least one that is."""
    draw = random.Random(f"{seed} {pairs}")
    scenes = list[Scene]()
    while len(scenes) < number:
        scene = _scene(draw)
        if bool(scene.pairs & HELD_OUT) == (pairs == "held out"):
            scenes.append(scene)
    return scenes


def _scene(draw: random.Random) -> Scene:
    """One object, or in three of four scenes two that do not touch and lie clearly beside or above each other."""
    while True:
        things = [_thing(draw) for _ in range(1 if draw.random() < 0.25 else 2)]
        if len(things) == 1:
            return Scene((things[0],), None)
        if (scene := _related(*things)) is not None:
            return scene


def _thing(draw: random.Random) -> Thing:
    size = draw.choice(list(SIZES))
    half = SIZES[size]
    x, y = (draw.randint(half + 1, SIDE - half - 1) for _ in range(2))
    box = Box(x - half, y - half, x + half, y + half)
    return Thing(size, draw.choice(list(COLOURS)), draw.choice(SHAPES), box)


def _related(one: Thing, other: Thing) -> Scene | None:
    """The one that is named first is on the left, or above; None where it is not clear which word is right."""
    if one[:3] == other[:3] or not _apart(one.box, other.box):
        return None
    across, down = other.box.left + other.box.right - one.box.left - one.box.right, _down(other.box) - _down(one.box)
    if abs(abs(across) - abs(down)) < 2 * _CLEAR:
        return None
    beside = abs(across) > abs(down)
    first, second = (one, other) if (across if beside else down) > 0 else (other, one)
    return Scene((first, second), "left of" if beside else "above")


def _down(box: Box) -> int:
    return box.top + box.bottom


def _apart(one: Box, other: Box) -> bool:
    across = max(one.left, other.left) - min(one.right, other.right)
    down = max(one.top, other.top) - min(one.bottom, other.bottom)
    return max(across, down) >= _GAP


def draw_scene(scene: Scene) -> Image.Image:
    """The picture, `SIDE` pixels wide and high, in colour."""
    picture = Image.new("RGB", (SIDE * _SMOOTHING, SIDE * _SMOOTHING), _BACKGROUND)
    canvas = ImageDraw.Draw(picture)
    for thing in scene.things:
        _draw(canvas, thing)
    return picture.resize((SIDE, SIDE), Image.Resampling.BOX)


def _draw(canvas: ImageDraw.ImageDraw, thing: Thing) -> None:
    left, top, right, bottom = (_SMOOTHING * side for side in thing.box)
    right, bottom, colour = right - 1, bottom - 1, COLOURS[thing.colour]
    third = (right - left) // 3
    if thing.shape == "circle":
        canvas.ellipse((left, top, right, bottom), fill=colour)
    elif thing.shape == "square":
        canvas.rectangle((left, top, right, bottom), fill=colour)
    elif thing.shape == "triangle":
        canvas.polygon([((left + right) // 2, top), (right, bottom), (left, bottom)], fill=colour)
    else:
        canvas.rectangle((left + third, top, right - third, bottom), fill=colour)
        canvas.rectangle((left, top + third, right, bottom - third), fill=colour)
