"""A picture of which only parts are decoded: TIFF, whose tiles (or strips) are compressed each by itself.

The other formats cannot be read so: a JPEG, PNG, WebP or GIF is one stream, decoded from its beginning. Nor does Pillow
give a part of a TIFF without the rest; so each tile is handed to it as a small TIFF of its own, under the same entries.
"""

import math
import warnings
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin

from regard.data.files import check_file
from regard.data.picture_bytes import MAX_BYTES, MAX_PIXELS, decode_picture
from regard.errors import DataError

Pixels = NDArray[np.uint8]  # (height, width, channels)
Box = tuple[float, float, float, float]  # top, left, bottom, right

_BEGINNINGS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the last two with offsets of 64 bits
_WIDTH, _HEIGHT, _ORIENTATION, _PLANES = 256, 257, 274, 284
_TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_BYTES = 322, 323, 324, 325
_STRIP_OFFSETS, _STRIP_HEIGHT, _STRIP_BYTES = 273, 278, 279
# What says how a tile's bytes become pixels: bits, compression, meaning, order, samples, predictor, palette, clearness,
# kind of numbers, JPEG's tables, and how its colours are sampled.
_CODING = (258, 259, 262, 266, 277, 284, 317, 320, 338, 339, 347, 530, 531, 532)
_LARGEST_TILE = 1 << 24  # pixels
# So many pixels a side are left, for one that is wanted, where tiles are shrunk before they are put together: more than
# the filter needs to give the same as from the whole.
_SPARE = 4


class _Grid(NamedTuple):
    """Where the tiles lie: in the picture, row after row, and in the file."""

    height: int
    width: int
    offsets: Sequence[int]
    sizes: Sequence[int]


class TiledPicture:
    """The first picture of a TIFF. `height` and `width` are its own; nothing is decoded before `part` asks for it."""

    def __init__(self, path: Path, entries: TiffImagePlugin.ImageFileDirectory_v2, grid: _Grid, channels: int) -> None:
        self.path, self.channels = path, channels
        self.height, self.width = int(entries[_HEIGHT]), int(entries[_WIDTH])
        self._entries, self._grid = entries, grid

    @classmethod
    def open(cls, path: Path, *, channels: int) -> "TiledPicture | None":
        """The picture, if it can be read by parts: a TIFF that is upright, whose colours are not apart, in tiles."""
        try:
            check_file(path)  # of a pipe the opening alone would wait for ever
            with open(path, "rb") as file, warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what is wrong with it is told where it is decoded
                if file.read(4) not in _BEGINNINGS:
                    return None
                file.seek(0)
                # Not by `Image.open`, which refuses the very pictures that this is for.
                entries = TiffImagePlugin.TiffImageFile(file).tag_v2
                grid = _grid(entries)
                upright = entries.get(_ORIENTATION, 1) == 1 and entries.get(_PLANES, 1) == 1
                if grid is None or not upright:
                    return None
                return cls(path, entries, grid, channels)
        except Exception:  # whatever is wrong with it, reading it whole says so in one sentence
            return None

    def part(self, box: Box, size: tuple[int, int]) -> Pixels:
        """What lies within `box`, in pixels of the picture, scaled to `size` (height, width), as of the whole picture.

        Raises:
            DataError: a tile is damaged, or they are of a shape that needs too much memory.
        """
        top, left, bottom, right = box
        scale = (bottom - top) / size[0], (right - left) / size[1]
        factor = self._factor(min(scale))
        rows = self._tiles(top - scale[0], bottom + scale[0], self._grid.height, self.height)
        columns = self._tiles(left - scale[1], right + scale[1], self._grid.width, self.width)
        begin = rows.start * self._grid.height, columns.start * self._grid.width
        end = min(rows.stop * self._grid.height, self.height), min(columns.stop * self._grid.width, self.width)
        height, width = (-(-(stop - start) // factor) for start, stop in zip(begin, end, strict=True))
        if height * width > MAX_PIXELS:
            return self._in_halves(box, size)
        canvas = Image.new("L" if self.channels == 1 else "RGB", (width, height))
        with open(self.path, "rb") as file:
            for row in rows:
                for column in columns:
                    place = row * self._grid.height - begin[0], column * self._grid.width - begin[1]
                    canvas.paste(self._tile(file, row, column).reduce(factor), (place[1] // factor, place[0] // factor))
        inner = tuple((side - begin[axis % 2]) / factor for axis, side in enumerate((top, left, bottom, right)))
        wanted = (inner[1], inner[0], min(inner[3], width), min(inner[2], height))
        found = canvas.resize((size[1], size[0]), Image.Resampling.BILINEAR, wanted)
        return np.asarray(found).reshape(*size, self.channels)

    def shrunk(self, wanted: tuple[int, int]) -> Pixels:
        """The whole, at least twice as large as `wanted` (height, width), unless that is more than it or memory has."""
        share = max(2 * wanted[0] / self.height, 2 * wanted[1] / self.width)
        share = min(share, 1.0, math.sqrt(MAX_PIXELS / (self.height * self.width)))
        size = max(1, int(self.height * share)), max(1, int(self.width * share))
        return self.part((0.0, 0.0, float(self.height), float(self.width)), size)

    def _in_halves(self, box: Box, size: tuple[int, int]) -> Pixels:
        """The upper and the lower half one after the other, for what both need would be too much at once."""
        if size[0] == 1:
            raise DataError(f"{self.path}: one line of it needs too much memory; scale it down, or save it in tiles")
        (top, left, bottom, right), half = box, size[0] // 2
        middle = top + (bottom - top) * half / size[0]
        upper = self.part((top, left, middle, right), (half, size[1]))
        return np.concatenate([upper, self.part((middle, left, bottom, right), (size[0] - half, size[1]))])

    def _factor(self, scale: float) -> int:
        """How far a tile is shrunk before all are put together: a power of two by which its sides can be divided."""
        factor = 1
        while 2 * factor * _SPARE <= scale and not (self._grid.height | self._grid.width) % (2 * factor):
            factor *= 2
        return factor

    @staticmethod
    def _tiles(begin: float, end: float, side: int, whole: int) -> range:
        return range(max(0, int(begin)) // side, -(-min(whole, int(end) + 1) // side))

    def _tile(self, file: BinaryIO, row: int, column: int) -> Image.Image:
        """One tile, without what stands beyond the picture's edges."""
        grid = self._grid
        number = row * -(-self.width // grid.width) + column
        file.seek(grid.offsets[number])
        content = file.read(min(grid.sizes[number], MAX_BYTES))
        height = min(grid.height, self.height - row * grid.height)
        coded = self._alone(content, grid.height if _TILE_OFFSETS in self._entries else height)
        name = f"{self.path}, the tile {column + 1:,} from the left and {row + 1:,} from the top"
        pixels = decode_picture(coded, name=name, channels=self.channels).pixels
        pixels = pixels[:height, : self.width - column * grid.width]
        return Image.fromarray(pixels.squeeze(-1) if self.channels == 1 else pixels)

    def _alone(self, content: bytes, height: int) -> bytes:
        """A TIFF of nothing but a tile."""
        entries = TiffImagePlugin.ImageFileDirectory_v2(prefix=self._entries.prefix)
        own = {_WIDTH: self._grid.width, _HEIGHT: height, _STRIP_HEIGHT: height, _STRIP_BYTES: len(content)}
        for tag, value in {**own, _STRIP_OFFSETS: 0}.items():
            entries[tag] = value
        for tag in _CODING:
            if tag in self._entries:
                entries.tagtype[tag] = self._entries.tagtype[tag]
                entries[tag] = self._entries[tag]
        file = BytesIO()
        entries.save(file)  # which makes of the offset, as it counts from the end of the entries, one into the file
        file.write(content)
        return file.getvalue()


def _grid(entries: TiffImagePlugin.ImageFileDirectory_v2) -> _Grid | None:
    """None where the picture is not cut up, or into pieces as large as pictures, or not as its entries say."""
    if _TILE_OFFSETS in entries:
        sides, tags = (entries[_TILE_HEIGHT], entries[_TILE_WIDTH]), (_TILE_OFFSETS, _TILE_BYTES)
    else:
        sides, tags = (min(entries[_STRIP_HEIGHT], entries[_HEIGHT]), entries[_WIDTH]), (_STRIP_OFFSETS, _STRIP_BYTES)
    grid = _Grid(int(sides[0]), int(sides[1]), *(entries[tag] for tag in tags))
    number = -(-entries[_HEIGHT] // grid.height) * -(-entries[_WIDTH] // grid.width)
    is_whole = number > 1 and len(grid.offsets) == len(grid.sizes) == number
    return grid if is_whole and grid.height * grid.width <= _LARGEST_TILE else None
