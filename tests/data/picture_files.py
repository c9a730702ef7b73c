"""Small picture files of every kind, made on the spot."""

import struct
import zlib
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def gradient(height: int = 24, width: int = 32) -> NDArray[np.uint8]:
    """Pixels (height, width, 3) that differ everywhere and change smoothly, so that JPEG keeps them nearly."""
    rows, columns = np.mgrid[0:height, 0:width]
    return np.stack([rows * 255 // height, columns * 255 // width, (rows + columns) * 2], axis=-1).astype(np.uint8)


def encoded(pixels: NDArray[Any] | Image.Image, form: str, **options: Any) -> bytes:
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    file = BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def png_claiming(width: int, height: int) -> bytes:
    """A header and nothing else."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(b"")) + _chunk(b"IEND", b"")


def png_with_text(size: int) -> bytes:
    """A picture with a compressed comment of `size` bytes, as small as a bomb is."""
    whole = encoded(gradient(), "PNG")
    return whole[:33] + _chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(size))) + whole[33:]


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
