"""Every picture, however hostile, gives its pixels or one clear error, in little time and memory."""

import os
import random
import resource
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from data.picture_files import encoded, gradient, png_claiming, png_with_text
from regard.data.picture_file import FORMATS, MAX_PIXELS, read_picture
from regard.errors import DataError


def colour(content: bytes) -> np.ndarray:
    return read_picture(content, channels=3).pixels.astype(int)


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_is_read(form: str) -> None:
    options = {"quality": 95} if form in ("JPEG", "WEBP") else {}
    difference = np.abs(colour(encoded(gradient(), form, **options)) - gradient())
    assert difference.mean() < (6 if form in ("JPEG", "WEBP", "GIF") else 1e-9)


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_truncated_files_are_refused_never_half_grey(form: str, share: float) -> None:
    noise = np.random.default_rng(0).integers(256, size=(64, 64, 3), dtype=np.uint8)  # so that 1 % is a loss
    whole = encoded(noise, form)
    with pytest.raises(DataError, match=r"the picture is damaged|not a picture"):
        read_picture(whole[: int(len(whole) * share)], channels=3)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "GIF", "TIFF"])
def test_flipped_bits_give_an_answer_or_one_error(form: str) -> None:
    whole, draw = encoded(gradient(), form), random.Random(7)
    refused = 0
    for _ in range(100):
        damaged = bytearray(whole)
        damaged[draw.randrange(len(damaged))] ^= 1 << draw.randrange(8)
        begun = time.perf_counter()
        try:
            read_picture(bytes(damaged), channels=3)
        except DataError:  # and nothing else
            refused += 1
        assert time.perf_counter() - begun < 1.0
    assert refused


@pytest.mark.parametrize("side", [8_000, 12_000, 60_000])
def test_a_picture_is_refused_by_its_header(side: int) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DataError, match="scale it down"):
        read_picture(png_claiming(side, side), channels=3)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000  # kB


def test_a_large_jpeg_is_decoded_small_where_a_small_one_is_wanted() -> None:
    content = encoded(Image.new("L", (9_000, 9_000), 77), "JPEG")
    assert MAX_PIXELS < 9_000 * 9_000
    with pytest.raises(DataError, match="scale it down"):
        read_picture(content, channels=1)
    pixels = read_picture(content, channels=1, wanted=(224, 224)).pixels
    assert pixels.shape == (1125, 1125, 1)
    assert np.abs(pixels.astype(int) - 77).max() <= 1


def test_a_progressive_jpeg_holds_all_of_it_and_so_is_measured_whole() -> None:
    content = encoded(Image.new("L", (9_000, 9_000), 77), "JPEG", progressive=True)
    with pytest.raises(DataError, match="scale it down"):
        read_picture(content, channels=1, wanted=(224, 224))


def test_other_modes_become_three_channels() -> None:
    image = Image.fromarray(gradient())
    assert np.abs(colour(encoded(image.convert("CMYK"), "JPEG", quality=95)) - gradient()).mean() < 6
    grey = np.asarray(image.convert("L")).astype(int)
    for mode in ("L", "LA"):
        assert np.array_equal(colour(encoded(image.convert(mode), "PNG")), np.stack([grey] * 3, -1))
    bits = colour(encoded(image.convert("1"), "PNG"))
    assert set(np.unique(bits)) == {0, 255}


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_a_colour_profile_changes_nothing(form: str) -> None:
    options = {"quality": 95} if form in ("JPEG", "WEBP") else {}
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    plain = colour(encoded(gradient(), form, **options))
    assert np.array_equal(colour(encoded(gradient(), form, icc_profile=profile, **options)), plain)
    assert np.array_equal(colour(encoded(gradient(), form, icc_profile=b"no profile", **options)), plain)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_a_huge_colour_profile_costs_no_memory(form: str) -> None:
    size = 10_000_000 if form != "PNG" else 30_000_000  # PNG compresses it, and so it is a bomb
    content = encoded(gradient(), form, icc_profile=bytes(size))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun = time.perf_counter()
    if form == "PNG":  # nobody can tell how large it becomes
        with pytest.raises(DataError, match="damaged"):
            colour(content)
    else:
        assert colour(content).shape == (24, 32, 3)
    assert time.perf_counter() - begun < 1.0
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    for form in ("PNG", "TIFF"):
        wide = np.array([[0, 257, 40_000, 65_535]], np.uint16)
        assert colour(encoded(wide, form))[0, :, 0].tolist() == [0, 1, 155, 255]


def test_what_is_clear_lies_on_white() -> None:
    clear = np.zeros((2, 2, 4), np.uint8)
    clear[0, 0] = (10, 20, 30, 255)
    pixels = colour(encoded(clear, "PNG"))
    assert pixels[0, 0].tolist() == [10, 20, 30]
    assert (pixels[1] == 255).all()
    palette = Image.fromarray(gradient()).convert("P")
    assert (colour(encoded(palette, "PNG", transparency=bytes(256)))).min() == 255


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_the_picture_upright(orientation: int) -> None:
    upright = Image.fromarray(gradient())
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # what a camera held so would have written
    stored = upright if orientation == 1 else upright.transpose(Image.Transpose(undo[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert np.array_equal(colour(encoded(stored, "PNG", exif=exif)), gradient())


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP", "TIFF"])
def test_of_many_pictures_the_first_is_used(form: str) -> None:
    frames = [Image.new("RGB", (8, 8), value) for value in ("red", "lime", "blue")]
    content = encoded(frames[0], form, save_all=True, append_images=frames[1:])
    picture = read_picture(content, channels=3)
    assert picture.has_more
    assert np.abs(picture.pixels.astype(int) - (255, 0, 0)).max() < 8
    assert not read_picture(encoded(frames[0], form), channels=3).has_more


@pytest.mark.parametrize("shape", [(1, 1), (1, 65_500), (65_500, 1)])
def test_thin_pictures_are_pictures(shape: tuple[int, int]) -> None:
    assert read_picture(encoded(np.zeros(shape, np.uint8), "PNG"), channels=3).pixels.shape == (*shape, 3)


@pytest.mark.parametrize(
    "content",
    [b"", b"hello", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"8BPS\0\1", b"<html>"],
)
def test_what_is_no_picture_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_bytes(content)
    with pytest.raises(DataError, match=r"x\.jpg: not a picture of a format that is read \(JPEG, PNG"):
        read_picture(tmp_path / "x.jpg", channels=3)


def test_a_pipe_is_no_picture_and_nobody_waits_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(DataError, match="is a pipe"):
        read_picture(tmp_path / "pipe.png", channels=3, wanted=(8, 8))


def test_a_bomb_in_a_comment_is_refused() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DataError, match="damaged"):
        read_picture(png_with_text(3_000_000), channels=3)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000
