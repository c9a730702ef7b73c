"""Pictures with a text each: tables of captions, COCO's and Karpathy's JSON, folders by class, IDX files.

The source of a pair is the name of its picture, which `pictures` of the corpus can read.
"""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from regard.data.corpus_base import Corpus, Format, Pair, Reading, Record
from regard.data.corpus_formats import MalformedLineError, TsvCorpus
from regard.data.files import open_bytes, read_error
from regard.data.picture_file import SUFFIXES
from regard.data.pictures import IdxPictures, PictureFolder, Pictures, read_idx
from regard.data.text import Counts, clean_line
from regard.errors import DataError

PICTURE_FORMATS: tuple[Format, ...] = ("captions", "coco", "karpathy", "folders", "idx")
_CAPTION_NUMBER = re.compile(r"#\d+$")


class CaptionTable(TsvCorpus):
    """TSV with a picture and a caption in each line; the picture of Flickr8k's lines ends in `#` and a number.

    `chosen` are the place of a column and the value that it must have, or the pictures that are wanted.
    """

    format: Format = "captions"

    def __init__(
        self,
        path: Path,
        reading: Reading,
        columns: tuple[int, int],
        num_header_lines: int,
        pictures: Pictures,
        chosen: tuple[int, str] | frozenset[str] | None = None,
    ) -> None:
        super().__init__(path, reading, columns, num_header_lines)
        self.pictures = pictures
        self._chosen = chosen

    def parse(self, line: str, counts: Counts) -> Iterator[Pair]:
        """The picture and the caption, if the line is of the part that is wanted."""
        cells = line.split("\t")
        if isinstance(self._chosen, tuple):
            place, value = self._chosen
            if len(cells) < place:
                raise MalformedLineError(
                    f"there are {len(cells)} column(s) between tabs, but `split` is column {place}"
                )
            if cells[place - 1] != value:
                return
        for pair in super().parse(line, Counts()):
            name = _CAPTION_NUMBER.sub("", pair.source)
            if not isinstance(self._chosen, frozenset) or name in self._chosen:
                yield Pair(name, pair.target)

    def _columns(self) -> tuple[str | int, ...]:
        chosen = sorted(self._chosen) if isinstance(self._chosen, frozenset) else (self._chosen or ())
        return (*super()._columns(), *chosen)


class PictureList(Corpus):
    """Pairs that are held in memory, as a file or folder gives them that is no text of lines.

    `paths` are the files that decide, beside the pictures, what the pairs are; `part` says which of them are taken.
    """

    pictures: Pictures

    def __init__(
        self,
        name: Path,
        pairs: Sequence[Pair],
        pictures: Pictures,
        *,
        format: Format,
        reading: Reading,
        paths: tuple[Path, ...] = (),
        part: str = "",
    ) -> None:
        self.format = format
        super().__init__(paths, reading)
        self.pictures = pictures
        self._name = f"{name}#{part}" if part else str(name)
        self._pairs = pairs
        self._part = part

    @property
    def name(self) -> str:
        """The file or folder, and the part of it."""
        return self._name

    def records(self, counts: Counts) -> Iterator[Record]:
        """One record a pair; its `line` is its place."""
        for number, pair in enumerate(self._pairs, start=1):
            try:
                text = clean_line(pair.target, counts)
            except DataError as error:  # half a surrogate pair, which only an escape of JSON can bring in
                yield self.malformed(number, f"{self.name}: {pair.source}: {error}", counts)
                continue
            if len(text) > self.reading.max_length:
                counts.add("too_long")
                yield Record(number, None)
            else:
                yield Record(number, Pair(pair.source, text))

    def place(self, line: int) -> str:
        """The picture."""
        return self.pictures.location(self._pairs[line - 1].source)

    def _columns(self) -> tuple[str | int, ...]:
        return (self._part,)


def json_corpus(path: Path, reading: Reading, pictures: Pictures, *, format: Format, part: str) -> PictureList:
    """The captions of a JSON file in COCO's form or in Karpathy's, of which `part` names the split.

    Raises:
        DataError: it has not that form, or no such split.
    """
    whole = _read_json(path)
    found: list[Pair] = []
    try:
        for pair in _coco(whole) if format == "coco" else _karpathy(whole, part):
            if not all(isinstance(text, str) for text in pair):
                raise TypeError("names and captions must be texts")
            found.append(pair)
    except (KeyError, TypeError, AttributeError) as error:
        reason = f"no key {error}" if isinstance(error, KeyError) else str(error)
        raise DataError(f"{path}: after {len(found):,} captions it is not of the form `{format}`: {reason}") from error
    if part and not found:
        raise DataError(f"{path}: no picture is of the split `{part}`; there are {_splits(whole)}")
    return PictureList(path, found, pictures, format=format, reading=reading, paths=(path,), part=part)


def _coco(whole: Any) -> Iterator[Pair]:
    """`{"images": [{"id", "file_name"}], "annotations": [{"image_id", "caption"}]}`."""
    names = {image["id"]: image["file_name"] for image in whole["images"]}
    for annotation in whole["annotations"]:
        yield Pair(names[annotation["image_id"]], annotation["caption"])


def _karpathy(whole: Any, part: str) -> Iterator[Pair]:
    """`{"images": [{"filename", "split", "sentences": [{"raw"}]}]}`; COCO's pictures have a `filepath` too."""
    for image in whole["images"]:
        if part and image["split"] != part:
            continue
        name = image["filename"]
        for sentence in image["sentences"]:
            yield Pair(f"{image['filepath']}/{name}" if "filepath" in image else name, sentence["raw"])


def _splits(whole: Any) -> str:
    return ", ".join(sorted({str(image["split"]) for image in whole["images"]}))


def _read_json(path: Path) -> Any:
    try:
        with open_bytes(path) as file:
            return json.load(file)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not JSON: {error}") from error
    except (OSError, EOFError) as error:
        raise read_error(path, error) from error


def folder_corpus(root: Path, reading: Reading) -> PictureList:
    """The pictures of a folder whose folders are the classes: `root/cat/1.jpg` is a cat.

    Raises:
        DataError: there is no folder in it, or one without pictures.
    """
    classes = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not classes:
        raise DataError(f"{root} holds no folders; the pictures of each class belong into a folder of its own")
    pairs = []
    for folder in classes:
        files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
        if not files:
            raise DataError(f"{folder} holds no pictures ({', '.join(SUFFIXES)}), yet it would be a class")
        pairs += [Pair(str(path.relative_to(root)), folder.name) for path in files]
    return PictureList(root, pairs, PictureFolder(root), format="folders", reading=reading)


def idx_corpus(path: Path, reading: Reading) -> PictureList:
    """IDX pictures with the labels of the file beside that is called `labels-idx1` where it is called `images-idx3`.

    Raises:
        DataError: one of the files is missing, damaged, or has more items than the other.
    """
    beside = path.with_name(re.sub(r"images([-.])idx3", r"labels\1idx1", path.name))
    if beside == path:
        raise DataError(f"{path}: name the file of pictures, called such as train-images-idx3-ubyte(.gz)")
    pictures, labels = IdxPictures(path), read_idx(beside, num_axes=1)
    if len(pictures.pixels) != len(labels):
        raise DataError(f"{path} has {len(pictures.pixels):,} pictures, but {beside} has {len(labels):,} labels")
    pairs = [Pair(str(place), str(label)) for place, label in enumerate(labels.tolist())]
    return PictureList(path, pairs, pictures, format="idx", reading=reading, paths=(path, beside))
