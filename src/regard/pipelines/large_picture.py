"""A picture too large to be decoded whole, as a model sees it that asks for parts of it alone."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from regard.data.picture_reader import PictureReader, Place
from regard.data.tiled_picture import TiledPicture

_NOT_SEEN = 128


class LargePicture:
    """`regard.protocol.Parts` of a picture in tiles: the pixels that the reader's picture would have, when asked for.

    `seen` (height, width, channels) holds those that were, on grey.
    """

    def __init__(self, tiled: TiledPicture, reader: PictureReader) -> None:
        self.shape: tuple[int, int, int, int] = (1, reader.channels, reader.height, reader.width)
        self.seen = np.full(reader.shape, _NOT_SEEN, np.uint8)
        self._tiled, self._reader = tiled, reader
        self._place, self._box = reader.placement(tiled.height, tiled.width)

    def part(self, top: int, left: int, width: int) -> Float[Tensor, "channels width width"]:
        """A square of the reader's picture; 0 beyond its edges.

        Raises:
            DataError: a tile is damaged.
        """
        found = torch.zeros(self.shape[1], width, width)
        inside = _common(Place(top, left, width, width), Place(0, 0, *self.shape[2:]))
        if inside is not None:
            self.seen[inside.rows, inside.columns] = self._pixels(inside)
            numbers = self._reader.tensor(self.seen[None, inside.rows, inside.columns])[0]
            inner = inside._replace(top=inside.top - top, left=inside.left - left)
            found[:, inner.rows, inner.columns] = numbers
        return found

    def _pixels(self, wanted: Place) -> np.ndarray:
        """Those of the picture, on white."""
        pixels = np.full((wanted.height, wanted.width, self.shape[1]), 255, np.uint8)
        covered = _common(wanted, self._place)
        if covered is not None:
            inner = covered._replace(top=covered.top - wanted.top, left=covered.left - wanted.left)
            part = self._tiled.part(self._of_file(covered), (covered.height, covered.width))
            pixels[inner.rows, inner.columns] = part
        return pixels

    def _of_file(self, place: Place) -> tuple[float, float, float, float]:
        top, left, bottom, right = self._box
        down, aside = (bottom - top) / self._place.height, (right - left) / self._place.width
        begin = top + (place.top - self._place.top) * down, left + (place.left - self._place.left) * aside
        return (*begin, begin[0] + place.height * down, begin[1] + place.width * aside)


def _common(one: Place, other: Place) -> Place | None:
    """What both cover."""
    top, left = max(one.top, other.top), max(one.left, other.left)
    bottom, right = (min(a.stop, b.stop) for a, b in ((one.rows, other.rows), (one.columns, other.columns)))
    return Place(top, left, bottom - top, right - left) if bottom > top and right > left else None
