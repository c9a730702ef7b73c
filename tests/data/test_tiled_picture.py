"""Pictures in tiles are read by parts: the same pixels as of the whole, no more tiles than needed, little memory."""

import resource
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.picture_files import encoded
from data.tiled_tiff import write_tiled
from regard.data import tiled_picture as module
from regard.data.picture_bytes import decode_picture
from regard.data.picture_file import open_large, read_picture
from regard.data.tiled_picture import TiledPicture
from regard.errors import DataError

SIDES = (300, 420)
BOXES = [
    ((0, 0, 300, 420), (30, 42)),
    ((0, 0, 300, 420), (300, 420)),
    ((0, 0, 300, 420), (5, 3)),
    ((100.5, 200, 203.25, 311.2), (20, 30)),
    ((250, 390, 300, 420), (100, 60)),
]


def smooth(channels: int = 3, dtype: type = np.uint8) -> np.ndarray:
    """Pixels that differ everywhere."""
    waves = np.add.outer(np.sin(np.arange(SIDES[0]) / 9), np.cos(np.arange(SIDES[1]) / 7))
    pixels = np.stack([(waves * (n + 4) / 14 + 1) * 0.5 * np.iinfo(dtype).max for n in range(channels)], -1).astype(
        dtype
    )
    return pixels[..., 0] if channels == 1 else pixels


def in_tiles(path: Path, pixels: np.ndarray, compression: str, shape: tuple[int, int] = (32, 64)) -> Path:
    padding = [(0, -side % tile) for side, tile in zip(pixels.shape, shape, strict=False)]
    whole = np.pad(pixels, [*padding, *[(0, 0)] * (pixels.ndim - 2)], constant_values=77)

    def tile(row: int, column: int) -> np.ndarray:
        return whole[row * shape[0] : (row + 1) * shape[0], column * shape[1] : (column + 1) * shape[1]]

    write_tiled(path, *pixels.shape[:2], tile, compression=compression)
    return path


def is_as_of_the_whole(path: Path, channels: int) -> None:
    tiled = TiledPicture.open(path, channels=channels)
    assert tiled is not None
    assert (tiled.height, tiled.width) == SIDES
    pixels = decode_picture(path.read_bytes(), name="whole", channels=channels).pixels
    whole = Image.fromarray(pixels[..., 0] if channels == 1 else pixels)
    for (top, left, bottom, right), size in BOXES:
        expected = whole.resize(size[::-1], Image.Resampling.BILINEAR, (left, top, right, bottom))
        found = tiled.part(tuple(map(float, (top, left, bottom, right))), size).astype(int)
        assert found.shape == (*size, channels)
        assert np.abs(found - np.asarray(expected).reshape(found.shape)).max() <= 2


@pytest.mark.parametrize("compression", ["raw", "tiff_deflate", "tiff_lzw", "packbits", "jpeg"])
def test_a_part_is_as_of_the_whole_however_tiles_are_compressed(tmp_path: Path, compression: str) -> None:
    is_as_of_the_whole(in_tiles(tmp_path / "x.tif", smooth(), compression), 3)


@pytest.mark.parametrize("form", ["grey", "clear", "sixteen bits", "strips"])
def test_a_part_is_as_of_the_whole_whatever_the_pixels_are(tmp_path: Path, form: str) -> None:
    path = tmp_path / "x.tif"
    if form == "strips":
        path.write_bytes(encoded(smooth(), "TIFF", compression="tiff_lzw", strip_size=420 * 3 * 16))
    else:
        pixels = {"grey": smooth(1), "clear": smooth(4), "sixteen bits": smooth(1, np.uint16)}[form]
        in_tiles(path, pixels, "tiff_deflate")
    for channels in (1, 3):
        is_as_of_the_whole(path, channels)


def test_no_more_tiles_are_read_than_the_part_touches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiled = TiledPicture.open(in_tiles(tmp_path / "x.tif", smooth(), "raw"), channels=3)
    read = []
    decode = module.decode_picture
    monkeypatch.setattr(
        module, "decode_picture", lambda *given, **named: read.append(named["name"]) or decode(*given, **named)
    )
    tiled.part((40.0, 70.0, 60.0, 120.0), (20, 50))
    assert [name.partition(", ")[2] for name in read] == ["the tile 2 from the left and 2 from the top"]


@pytest.mark.parametrize("content", ["png", "one strip", "turned", "torn entries", "missing"])
def test_what_cannot_be_read_by_parts_is_read_whole(tmp_path: Path, content: str) -> None:
    path = tmp_path / "x.tif"
    exif = Image.Exif()
    exif[0x0112] = 6
    whole = {
        "png": lambda: encoded(smooth(), "PNG"),
        "one strip": lambda: encoded(smooth(), "TIFF", strip_size=1 << 30, compression="tiff_lzw"),
        "turned": lambda: encoded(smooth(), "TIFF", exif=exif, compression="tiff_lzw", strip_size=420 * 48),
        "torn entries": lambda: encoded(smooth(), "TIFF")[:9],
    }
    if content in whole:
        path.write_bytes(whole[content]())
    assert TiledPicture.open(path, channels=3) is None


def test_a_damaged_tile_is_named(tmp_path: Path) -> None:
    path = in_tiles(tmp_path / "x.tif", smooth(), "tiff_deflate")
    damaged = bytearray(path.read_bytes())
    damaged[-40:] = bytes(40)
    path.write_bytes(damaged)
    tiled = TiledPicture.open(path, channels=3)
    assert tiled.part((0.0, 0.0, 40.0, 70.0), (4, 7)).shape == (4, 7, 3)
    with pytest.raises(
        DataError, match=r"x\.tif, the tile 7 from the left and 10 from the top: the picture is damaged"
    ):
        tiled.part((0.0, 0.0, 300.0, 420.0), (4, 7))


@pytest.fixture(scope="module")
def huge(tmp_path_factory) -> Path:
    """20,000 x 20,000 pixels: 1.2 GB in memory."""
    path = tmp_path_factory.mktemp("huge") / "huge.tif"
    tiles = [np.full((512, 512, 3), value, np.uint8) for value in range(0, 250, 10)]
    write_tiled(path, 20_000, 20_000, lambda row, column: tiles[(row + column) % 25])
    return path


def test_a_huge_picture_is_read_in_little_memory(huge: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DataError, match="far more than"):
        read_picture(huge, channels=3)
    pixels = read_picture(huge, channels=3, wanted=(60, 60)).pixels
    assert pixels.shape == (120, 120, 3)
    assert abs(float(pixels.mean()) - 120) < 2
    tiled = open_large(huge, channels=3)
    assert tiled.part((4608.0, 1536.0, 5120.0, 2048.0), (8, 8))[1:-1, 1:-1].min() == 120
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 60_000  # kB


def test_what_needs_too_much_memory_at_once_is_put_together_from_halves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = in_tiles(tmp_path / "x.tif", smooth(), "raw", (1, 420))  # which cannot be shrunk one by one
    monkeypatch.setattr(module, "MAX_PIXELS", 80_000)
    is_as_of_the_whole(path, 3)
    monkeypatch.setattr(module, "MAX_PIXELS", 1_000)
    with pytest.raises(DataError, match="save it in tiles"):
        TiledPicture.open(path, channels=3).shrunk((9, 9))
