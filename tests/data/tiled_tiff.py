"""TIFF files in tiles, which Pillow reads and does not write: its strips of one tile each, under entries of our own."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin

KEPT = (258, 259, 262, 277, 284, 317, 339, 347, 530, 532)


def write_tiled(
    path: Path, height: int, width: int, tile: Callable[[int, int], NDArray[Any]], *, compression: str = "tiff_deflate"
) -> None:
    """`tile(row, column)` gives each tile, all of one shape; equal ones are stored once."""
    shape = tile(0, 0).shape
    stored: dict[bytes, tuple[int, int]] = {}
    offsets, sizes, blob = [], [], bytearray()
    entries = TiffImagePlugin.ImageFileDirectory_v2()
    for row in range(-(-height // shape[0])):
        for column in range(-(-width // shape[1])):
            pixels = np.ascontiguousarray(tile(row, column))
            if (key := pixels.tobytes()) not in stored:
                content, found = _strip(pixels, compression)
                stored[key] = len(blob), len(content)
                blob += content
                for tag in KEPT:
                    if tag in found:
                        entries.tagtype[tag] = found.tagtype[tag]
                        entries[tag] = found[tag]
            offsets.append(stored[key][0])
            sizes.append(stored[key][1])
    for tag, value in {256: width, 257: height, 322: shape[1], 323: shape[0], 325: tuple(sizes)}.items():
        entries[tag] = value
    entries.tagtype[324] = 4
    entries[324] = tuple(offsets)
    begin = entries.save(BytesIO())  # where the tiles begin
    entries[324] = tuple(begin + offset for offset in offsets)
    with open(path, "wb") as out:
        entries.save(out)
        out.write(blob)


def _strip(pixels: NDArray[Any], compression: str) -> tuple[bytes, Any]:
    file = BytesIO()
    Image.fromarray(pixels).save(file, "TIFF", compression=compression, strip_size=1 << 30)
    with Image.open(file) as image:
        found = image.tag_v2
        (offset,), (size,) = found[273], found[279]
    return file.getvalue()[offset : offset + size], found
