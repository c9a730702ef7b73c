"""Pictures that a user names: files, folders and IDX files become pixels of a reader's size, one after the other."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from regard.data.picture_file import SUFFIXES, Picture, open_large, read_picture
from regard.data.picture_reader import PictureReader
from regard.data.pictures import IdxPictures, Pictures, is_idx
from regard.errors import DataError
from regard.pipelines.large_picture import LargePicture


class SeenPicture(NamedTuple):
    """A picture as a model will see it, (height, width, channels) in 0..255; where it cannot be read, why not.

    `notice` also says so where the file holds more pictures than this first. Of one too large to be decoded whole there
    are `parts` instead of pixels, for a model that asks for no more.
    """

    name: str
    pixels: NDArray[np.uint8] | None
    notice: str | None = None
    parts: LargePicture | None = None


def paths_of(pictures: object) -> list[Path]:
    """One path, or several, as a list.

    Raises:
        TypeError: it is, or holds, something else.
    """
    found = list[Path]()
    for picture in pictures if isinstance(pictures, Iterable) and not isinstance(pictures, str | bytes) else [pictures]:
        if not isinstance(picture, str | Path):
            raise TypeError(f"a picture is named by its path, a str or Path, not {type(picture).__name__}")
        found.append(Path(picture))
    return found


def read_inputs(paths: Iterable[str | Path], reader: PictureReader, *, by_parts: bool = False) -> Iterator[SeenPicture]:
    """Every picture of `paths`, in order; a folder stands for all pictures in it, by name, an IDX file for its own.

    `by_parts` leaves pictures undecoded that are too large for that.

    Raises:
        DataError: a folder holds no picture, or an IDX file is damaged. A file that is no picture is one that cannot be
            read: the others are.
    """
    for path in map(Path, paths):
        if path.is_dir():
            yield from (_seen_file(file, reader, by_parts=by_parts) for file in files_in(path))
        elif is_idx(path):
            pictures = IdxPictures(path)
            yield from read_named(pictures, map(str, range(len(pictures.pixels))), reader)
        else:
            yield _seen_file(path, reader, by_parts=by_parts)


def files_in(folder: Path) -> list[Path]:
    """All pictures in a folder and in those within it, by name.

    Raises:
        DataError: there is none.
    """
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
    if not files:
        raise DataError(f"{folder}: no pictures in this folder ({', '.join(SUFFIXES)})")
    return files


def read_named(pictures: Pictures, names: Iterable[str], reader: PictureReader) -> Iterator[SeenPicture]:
    """The pictures of a corpus that have these names."""
    for name in names:
        try:
            found = pictures.read(name, channels=reader.channels, wanted=(reader.height, reader.width))
        except DataError as error:
            yield SeenPicture(pictures.location(name), None, str(error))
        else:
            yield _seen(pictures.location(name), found, reader)


def _seen_file(path: Path, reader: PictureReader, *, by_parts: bool) -> SeenPicture:
    if by_parts and (tiled := open_large(path, channels=reader.channels)) is not None:
        return SeenPicture(str(path), None, parts=LargePicture(tiled, reader))
    try:
        found = read_picture(path, channels=reader.channels, wanted=(reader.height, reader.width))
    except DataError as error:
        return SeenPicture(str(path), None, str(error))
    return _seen(str(path), found, reader)


def _seen(name: str, picture: Picture, reader: PictureReader) -> SeenPicture:
    notice = f"{name}: of more than one picture in it the first is used" if picture.has_more else None
    return SeenPicture(name, reader.fitted(picture.pixels), notice)
