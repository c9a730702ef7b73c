"""Pictures that were named on the command line, for the page to choose from. They are opened like any other's."""

import base64
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from regard.data.picture_file import SUFFIXES, Picture, read_picture
from regard.data.picture_reader import PictureReader
from regard.data.pictures import IdxPictures, is_idx
from regard.errors import DataError
from regard.pipelines.picture_input import SeenPicture

MOST = 48
THUMBNAIL = 96  # pixels of the longer side


class _Place(NamedTuple):
    """Where a picture is: a file, or a number in an IDX file."""

    name: str
    path: Path
    idx: IdxPictures | None = None

    def read(self, channels: int, wanted: tuple[int, int]) -> Picture:
        """Its pixels."""
        if self.idx is not None:
            return self.idx.read(self.name, channels=channels, wanted=wanted)
        return read_picture(self.path, channels=channels, wanted=wanted)


class OfferedPictures:
    """The first `MOST` pictures of files, folders and IDX files, by number; `left_out` says whether there are more."""

    def __init__(self, paths: Sequence[Path] = ()) -> None:
        """Look at each once.

        Raises:
            DataError: one cannot be read, or a folder holds none.
        """
        places = [place for path in paths for place in _places(path)]
        self.left_out = max(0, len(places) - MOST)
        self._places = places[:MOST]
        self.thumbnails = [{"name": place.name, "address": _thumbnail(place)} for place in self._places]

    def seen(self, number: int, reader: PictureReader) -> SeenPicture:
        """A picture as a model with this reader sees it.

        Raises:
            DataError: there is none of that number, or it cannot be read any more.
        """
        if number >= len(self._places):
            raise DataError(f"there is no picture {number}; {len(self._places)} were named when the server was started")
        place = self._places[number]
        found = place.read(reader.channels, (reader.height, reader.width))
        return SeenPicture(place.name, reader.fitted(found.pixels))


def _places(path: Path) -> Iterator[_Place]:
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
        if not files:
            raise DataError(f"{path} holds no pictures ({', '.join(SUFFIXES)})")
        yield from (_Place(file.name, file) for file in files)
    elif is_idx(path):
        idx = IdxPictures(path)
        yield from (_Place(str(number), path, idx) for number in range(len(idx.pixels)))
    else:
        yield _Place(path.name, path)


def _thumbnail(place: _Place) -> str:
    """A small PNG as an address that holds it."""
    image = Image.fromarray(place.read(3, (THUMBNAIL, THUMBNAIL)).pixels)
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    file = BytesIO()
    image.save(file, format="PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")
