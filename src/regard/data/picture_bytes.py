"""Pictures from bytes that anybody may have made: known formats only, bounded before anything is decoded.

Whatever the bytes are, the answer is their pixels or one `DataError` that says what is wrong with them.
"""

import warnings
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from regard.errors import DataError

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP")
"""What is ever tried. Pillow knows many more, some of which start other programs (EPS) or are hardly tested."""

MAX_PIXELS = 40_000_000
MAX_BYTES = 64 * 2**20
_SIXTEEN_BITS = ("I;16", "I;16L", "I;16B", "I;16N")


class Picture(NamedTuple):
    """Pixels (height, width, channels) in 0..255, upright, and whether the file held more pictures than this first."""

    pixels: NDArray[np.uint8]
    has_more: bool = False


def decode_picture(content: bytes, *, name: str, channels: int, wanted: tuple[int, int] | None = None) -> Picture:
    """The first picture of a file's bytes; see `regard.data.picture_file.read_picture`. `name` is for messages.

    Raises:
        DataError: it is of no known format, is damaged or truncated, or has more than `MAX_PIXELS`.
    """
    if len(content) > MAX_BYTES:
        raise DataError(f"{name}: a picture of {len(content):,} bytes; at most {MAX_BYTES:,} are read")
    with warnings.catch_warnings():
        # Pillow warns where it doubts (a bomb, torn EXIF); the doubts that matter are errors below.
        warnings.simplefilter("ignore")
        return _decode(content, name, channels, wanted)


def _decode(content: bytes, name: str, channels: int, wanted: tuple[int, int] | None) -> Picture:
    try:
        with Image.open(BytesIO(content), formats=FORMATS) as image:
            _shrink(image, wanted)
            _refuse_large(image, name)
            image.load()
            pixels = _pixels(image, channels, name)
            return Picture(pixels, _has_more(image))
    except DataError:
        raise
    except UnidentifiedImageError:
        raise DataError(
            f"{name}: not a picture of a format that is read ({', '.join(FORMATS)}); save it as one of them"
        ) from None
    except Image.DecompressionBombError:
        raise DataError(f"{name}: its header claims far more than {MAX_PIXELS:,} pixels; scale it down") from None
    except MemoryError:
        raise DataError(f"{name}: there is not enough memory to decode it; scale it down") from None
    except Exception as error:  # a decoder fed with garbage raises whatever it stumbles over
        raise DataError(f"{name}: the picture is damaged ({_reason(error)}); save it again") from error


def _reason(error: Exception) -> str:
    return str(error).partition("\n")[0][:100] or type(error).__name__


def _shrink(image: Image.Image, wanted: tuple[int, int] | None) -> None:
    """Let a JPEG decoder leave out what would be scaled away. A progressive one holds all of it nevertheless."""
    if image.format in ("JPEG", "MPO") and wanted is not None and not image.info.get("progressive"):
        side = 2 * max(wanted)  # EXIF may turn it
        image.draft(None, (side, side))


def _refuse_large(image: Image.Image, name: str) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise DataError(
            f"{name}: a picture of {width:,} x {height:,} pixels; at most {MAX_PIXELS:,} are read, so scale it down"
        )


def _pixels(image: Image.Image, channels: int, name: str) -> NDArray[np.uint8]:
    turned = ImageOps.exif_transpose(image)
    if turned.mode in _SIXTEEN_BITS:
        turned = _eight_bits(turned)
    elif turned.mode in ("I", "F"):
        raise DataError(f"{name}: its pixels are 32-bit numbers without a known range; save it with 8 or 16 bits")
    if turned.has_transparency_data:
        clear = turned.convert("RGBA")
        turned = Image.alpha_composite(Image.new("RGBA", clear.size, "white"), clear)
    found: NDArray[Any] = np.asarray(turned.convert("L" if channels == 1 else "RGB"))
    return found.reshape(*found.shape[:2], channels)


def _eight_bits(image: Image.Image) -> Image.Image:
    """16-bit grey by scaling: Pillow's own conversion clips at 255."""
    return Image.fromarray((np.asarray(image).astype(np.uint32) * 255 // 65535).astype(np.uint8))


def _has_more(image: Image.Image) -> bool:
    """Whether a second picture follows; a file that holds ten thousand is not read for it."""
    return bool(getattr(image, "is_animated", False))
