"""Pictures from files: decoded whole, or where that would be too much and the format allows it, tile by tile."""

from pathlib import Path

from regard.data.files import check_file, read_error
from regard.data.picture_bytes import FORMATS as FORMATS
from regard.data.picture_bytes import MAX_BYTES, decode_picture
from regard.data.picture_bytes import MAX_PIXELS as MAX_PIXELS
from regard.data.picture_bytes import Picture as Picture
from regard.data.tiled_picture import TiledPicture
from regard.errors import DataError

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".tif", ".tiff", ".bmp")
"""How the files of these formats are named; only for finding them in a folder, a picture is known by its content."""


def read_picture(
    source: Path | bytes, *, channels: int, wanted: tuple[int, int] | None = None, name: str = ""
) -> Picture:
    """The first picture of a file, or of its bytes, turned as its EXIF entry says and laid on white where it is clear.

    `channels` is 1 (grey) or 3 (colour). 16-bit grey is scaled to 8 bits. `wanted` is the (height, width) that it will
    be brought to: a JPEG of more than twice that is decoded at a half, a quarter or an eighth of its size, and a TIFF
    of more than `MAX_PIXELS` tile by tile, each of which is scaled down before the next is read. `name` stands for the
    bytes in messages.

    Raises:
        DataError: it cannot be read, is of no known format, is damaged or truncated, or has more than `MAX_PIXELS`.
    """
    if isinstance(source, bytes):
        return decode_picture(source, name=name or "the picture", channels=channels, wanted=wanted)
    name = name or str(source)
    if wanted is not None and (tiled := open_large(source, channels=channels)) is not None:
        return Picture(tiled.shrunk(wanted))
    return decode_picture(_content(source, name), name=name, channels=channels, wanted=wanted)


def open_large(path: Path, *, channels: int) -> TiledPicture | None:
    """The picture in a file, to be read by parts, if it is too large to be decoded whole and can be read so."""
    tiled = TiledPicture.open(path, channels=channels)
    return tiled if tiled is not None and tiled.height * tiled.width > MAX_PIXELS else None


def _content(path: Path, name: str) -> bytes:
    check_file(path)
    try:
        if (size := path.stat().st_size) > MAX_BYTES:
            raise DataError(f"{name}: a picture of {size:,} bytes; at most {MAX_BYTES:,} are read")
        return path.read_bytes()
    except OSError as error:
        raise read_error(path, error) from error
