"""Glimpses of a picture that is never decoded whole see what they would see of the whole, and read no more."""

import resource
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from data.tiled_tiff import write_tiled
from regard.attention.record import AttentionRecord
from regard.data import tiled_picture
from regard.data.picture_reader import PictureConfig, PictureReader
from regard.data.tiled_picture import TiledPicture
from regard.models import glimpse
from regard.pipelines.large_picture import LargePicture
from regard.protocol import Dimensions


@pytest.mark.parametrize("fit", ["stretch", "crop", "pad"])
def test_every_square_is_that_of_the_fitted_picture(tmp_path: Path, fit: str) -> None:
    waves = np.add.outer(np.sin(np.arange(512) / 40), np.cos(np.arange(768) / 50)) * 60 + 128
    pixels = waves.astype(np.uint8)
    write_tiled(tmp_path / "x.tif", 512, 768, lambda row, column: pixels[row * 64 :, column * 64 :][:64, :64])
    reader = PictureReader(PictureConfig(size=[20, 24], channels=1, fit=fit))
    whole = reader.tensor(reader.fitted(pixels[..., None])[None])[0]
    large = LargePicture(TiledPicture.open(tmp_path / "x.tif", channels=1), reader)
    around = torch.nn.functional.pad(whole, (50, 50, 50, 50))
    for top, left, width in ((0, 0, 20), (-3, -4, 8), (15, 20, 9), (7, 9, 4), (-40, 3, 6), (2, 30, 5), (-5, -5, 40)):
        expected = around[:, top + 50 : top + 50 + width, left + 50 : left + 50 + width]
        found = large.part(top, left, width)
        assert (found == 0).equal(expected == 0) or fit == "pad"
        assert (found - expected).abs().max() <= 2 / 127
    assert Image.fromarray(large.seen[..., 0]).size == (24, 20)


def test_glimpses_of_400_million_pixels_decode_few_tiles_in_little_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiles = [np.full((512, 512), value, np.uint8) for value in range(0, 250, 10)]
    write_tiled(tmp_path / "x.tif", 20_000, 20_000, lambda row, column: tiles[(row + 2 * column) % 25])
    read = set()
    decode = tiled_picture.decode_picture
    monkeypatch.setattr(
        tiled_picture, "decode_picture", lambda *given, **named: read.add(named["name"]) or decode(*given, **named)
    )
    reader = PictureReader(PictureConfig(size=[60, 60], channels=1))
    torch.manual_seed(1)
    model = glimpse.build(
        glimpse.Config(num_glimpses=3, size=16, glimpse_size=8), Dimensions(1, 14, False, 60, 60)
    ).eval()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    picture, record = LargePicture(TiledPicture.open(tmp_path / "x.tif", channels=1), reader), AttentionRecord()
    with torch.inference_mode():
        assert model.label_parts(picture, record).shape == (1, 1, 14)
    seen = {(row, column) for box in record.glimpses[0, :, 0].long().tolist() for row, column in _within(box)}
    assert {tuple(place) for place in np.argwhere(picture.seen[..., 0] != 128)} <= seen
    side = 8 * 20_000 / 60 / 512 + 3  # tiles a glimpse, those of its edges and of the filter among them
    assert 0 < len(read) <= 3 * side**2
    assert len(read) < (20_000 / 512) ** 2 / 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 60_000  # kB


def _within(box: list[int]) -> list[tuple[int, int]]:
    top, left, height, width = box
    return [(row, column) for row in range(top, top + height) for column in range(left, left + width)]
