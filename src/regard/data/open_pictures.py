"""Opens a corpus of pictures by its name: `captions.tsv`, `dataset.json#train`, a folder of classes, an IDX file."""

from pathlib import Path
from typing import get_args

from regard.data.corpus_base import Corpus, Format, Reading
from regard.data.corpus_pictures import PICTURE_FORMATS, CaptionTable, folder_corpus, idx_corpus, json_corpus
from regard.data.files import SUFFIXES, open_bytes, without_compression
from regard.data.pictures import PictureFolder, Pictures, is_idx
from regard.data.text import read_lines
from regard.errors import DataError, UsageError

_PICTURE, _CAPTION, _SPLIT = "image", "caption", "split"


def open_picture_corpus(
    path: str | Path,
    *,
    root: Path | None = None,
    format: str = "auto",
    source: str = "source",
    target: str = "target",
    columns: tuple[int, int] | None = None,
    reading: Reading = Reading(),  # noqa: B008  it is immutable
) -> Corpus:
    """The corpus at `path`, whose pictures lie under `root` (where it is None: in the folder of the file).

    - After a `#` stands the part that is wanted: `dataset_coco.json#val` and `captions.tsv#val` take the pictures of
      the split `val` (a key in JSON, a column in TSV), `Flickr8k.token.txt#Flickr_8k.testImages.txt` those that the
      other file lists.
    - `format` "auto" is `folders` for a folder, `idx` or, for JSON, `coco` or `karpathy` by name and content, else
      `captions`: picture, tab, caption in each line.
    - The first line of `captions` may name the columns: `image` and `caption`, or what `source` and `target` say.
      `columns` give their places instead, from 1.

    Raises:
        UsageError: there is no such format, or a setting that it does not have.
        DataError: there is no such file or folder, or it cannot be read, or holds no such part.
    """
    if format != "auto" and format not in PICTURE_FORMATS:
        raise UsageError(f"pictures are not of the format `{format}`; theirs are {', '.join(PICTURE_FORMATS)}")
    place, part = _found(str(path))
    form = _recognise(place) if format == "auto" else format
    if columns is not None and form != "captions":
        raise UsageError(f"`columns` are for TSV, but {place} is read as `{form}`")
    if part and form in ("folders", "idx", "coco"):
        raise UsageError(f"{place} is read as `{form}`, which has no parts; leave out `#{part}`")
    if root is not None and form in ("folders", "idx"):
        raise UsageError(f"{place} holds its pictures itself; leave out `data.picture.root`")
    if form == "folders":
        return folder_corpus(place, reading)
    if form == "idx":
        return idx_corpus(place, reading)
    pictures = PictureFolder(place.parent if root is None else root)
    if form == "captions":
        return _table(place, part, reading, columns=columns, names=(source, target), pictures=pictures)
    return json_corpus(place, reading, pictures, format=_known(form), part=part)


def _known(form: str) -> Format:
    return next(known for known in get_args(Format) if known == form)


def _found(name: str) -> tuple[Path, str]:
    """The file or folder, and what stands behind its `#`."""
    for whole, part in ((name, ""), (name.rpartition("#")[0], name.rpartition("#")[2])):
        for suffix in SUFFIXES:
            if whole and Path(whole + suffix).exists():
                return Path(whole + suffix), part
    raise DataError(f"{name}: there is no such file or folder of pictures (also with .gz or .zst)")


def _recognise(path: Path) -> Format:
    if path.is_dir():
        return "folders"
    if is_idx(path):
        return "idx"
    if without_compression(path).suffix.lower() != ".json":
        return "captions"
    return "coco" if _holds(path, b'"annotations"') else "karpathy"


def _holds(path: Path, key: bytes) -> bool:
    """Whether the bytes `key` stand in a file, even across two of the pieces in which it is read."""
    before = b""
    with open_bytes(path) as file:
        while piece := file.read(1 << 20):
            if key in before + piece:
                return True
            before = piece[-len(key) :]
    return False


def _table(
    path: Path,
    part: str,
    reading: Reading,
    *,
    columns: tuple[int, int] | None,
    names: tuple[str, str],
    pictures: Pictures,
) -> CaptionTable:
    header = next(read_lines(path, on_error="replace"), "").split("\t")
    named = next(
        (pair for pair in (names, (_PICTURE, names[1]), (_PICTURE, _CAPTION)) if set(pair) <= set(header)), None
    )
    if columns is not None and min(columns) < 1:
        raise UsageError(f"columns are counted from 1, but `columns` are {columns[0]} and {columns[1]}")
    chosen: tuple[int, str] | frozenset[str] | None = None
    if part and (path.parent / part).is_file():
        chosen = frozenset(line.strip() for line in read_lines(path.parent / part, on_error="error"))
    elif part:
        if _SPLIT not in header:
            raise DataError(
                f"{path} has no column `{_SPLIT}`, nor is there a file {path.parent / part}; leave out `#{part}`"
            )
        chosen = (header.index(_SPLIT) + 1, part)
    if named is not None:
        columns = columns or (header.index(named[0]) + 1, header.index(named[1]) + 1)
    is_header = named is not None or _SPLIT in header
    return CaptionTable(path, reading, columns or (1, 2), int(is_header), pictures, chosen)
