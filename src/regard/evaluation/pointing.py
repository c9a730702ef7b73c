"""The pointing game: does the point that a word looks at most lie on what the word names (Zhang et al. 2018, 4.2)?"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from regard.evaluation.scenes import Box


class Looked(NamedTuple):
    """One caption: the weights of every word over the regions, and which words name what lies where."""

    maps: Float[Tensor, "words rows columns"]
    mentions: Sequence[tuple[int, Box]]  # place of a word, box of the object that it names


class Pointing(NamedTuple):
    """Shares of the words that name something. `chance` is the mean share of the picture that their boxes take.

    `control` is the hit rate of the same words' maps from the picture before: what looking at usual places gives.
    """

    hits: float
    chance: float
    control: float
    num_words: int


def pointing_game(captions: Iterable[Looked], *, height: int, width: int) -> Pointing:
    """Over all named words of pictures of `height` x `width` pixels.

    Raises:
        ValueError: no word names anything.
    """
    hits, chance, control, num_words = 0, 0.0, 0, 0
    before: Tensor | None = None
    for maps, mentions in captions:
        for word, box in mentions:
            hits += box.contains(*most_looked_at(maps[word], height, width))
            other = maps if before is None else before
            control += box.contains(*most_looked_at(other[min(word, len(other) - 1)], height, width))
            chance += box.area / (height * width)
            num_words += 1
        before = maps
    if not num_words:
        raise ValueError("no word names anything, so there is nothing to point at")
    return Pointing(hits / num_words, chance / num_words, control / num_words, num_words)


def most_looked_at(weights: Float[Tensor, "rows columns"], height: int, width: int) -> tuple[float, float]:
    """The centre (x, y), in pixels, of the region with most weight: regions tile the picture."""
    rows, columns = weights.shape
    row, column = divmod(int(weights.argmax()), columns)
    return (column + 0.5) * width / columns, (row + 0.5) * height / rows
