"""Pictures with their targets on disk: each picture decoded and scaled once, then memory-mapped as bytes."""

import copy
import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from regard.data.abstract_store import LeftOut, Store
from regard.data.abstract_tokenizer import Tokenizer
from regard.data.cache import open_cached
from regard.data.corpus_base import Corpus
from regard.data.flat_file import FlatWriter, map_flat
from regard.data.picture_file import Picture
from regard.data.picture_reader import PictureReader
from regard.data.store import DESCRIPTION, NUM_EXAMPLES, read_description, refuse_empty
from regard.errors import DataError
from regard.symbols import BOS, EOS

FORMAT = 1
_MOST_NAMED = 5


class PictureEncoding(NamedTuple):
    """How pictures and their targets become numbers.

    `max_length` bounds the positions of a target. In training a picture is moved by up to `shift` pixels each way,
    and with `flip` every second one is mirrored. A picture that cannot be read is left out if `skips` is set.
    """

    reader: PictureReader
    target: Tokenizer
    max_length: int
    shift: int = 0
    flip: bool = False
    skips: bool = False

    def target_ids(self, text: str) -> list[int]:
        """`BOS`, the ids, and `EOS` where such targets have one."""
        ids = [BOS, *self.target.encode(text)]
        return [*ids, EOS] if self.target.ends_with_eos else ids


class PictureStore(Store):
    """Pictures and their targets.

    `pixels` (pictures, height, width, channels) has one picture for all its targets; `names` tell of each in which of
    the corpora, from 0, it is found, and under which name.
    """

    def __init__(self, folder: Path, encoding: PictureEncoding) -> None:
        """Map a folder that `open_picture_store` has published.

        Raises:
            DataError: it is damaged.
        """
        description = read_description(folder)
        files = description["files"]
        self.names: list[tuple[int, str]] = [(which, name) for which, name in description["names"]]
        self.num_pairs_read = int(description["num_pairs_read"])
        self.notes = [str(note) for note in description["notes"]]
        self.left_out = [LeftOut(reason, count, tuple(where)) for reason, count, where in description["left_out"]]
        self.targets = map_flat(folder, "target", files)
        self.numbers = map_flat(folder, "number", files).values
        self.target_lengths = self.targets.lengths - 1
        self.source_lengths = np.ones_like(self.target_lengths)
        pixels = map_flat(folder, "pixels", files).values
        if len(pixels) != len(self.names) * np.prod(encoding.reader.shape) or len(self.numbers) != len(self.targets):
            raise DataError(f"{folder} is damaged: its pictures are not as many or as large as they should be")
        self.pixels = pixels.reshape(len(self.names), *encoding.reader.shape)
        self.encoding = encoding
        self._variation: _Variation | None = None

    def source_batch(self, rows: NDArray[np.int64]) -> Float[Tensor, "batch channels height width"]:
        """The pictures of `rows`, as the epoch varies them."""
        numbers = self.numbers[rows]
        pixels = (
            self.pixels[numbers] if self._variation is None else self._variation.of(rows).pick(self.pixels, numbers)
        )
        return self.encoding.reader.tensor(pixels)

    def pictures(self, numbers: Sequence[int]) -> Float[Tensor, "batch channels height width"]:
        """The pictures of these places in `names`, unvaried."""
        return self.encoding.reader.tensor(self.pixels[np.asarray(numbers, np.int64)])

    def resample(self, seed: int, epoch: int) -> "PictureStore":
        """The same pictures, moved and mirrored as drawn for `epoch`."""
        if not (self.encoding.shift or self.encoding.flip):
            return self
        drawn = copy.copy(self)
        drawn._variation = _Variation.draw(len(self), seed, epoch, self.encoding)
        return drawn


class _Variation(NamedTuple):
    """How far each row is moved down and to the right, in pixels, and whether it is mirrored."""

    shifts: NDArray[np.int64]  # (rows, 2)
    flips: NDArray[np.bool_]  # (rows,)

    @classmethod
    def draw(cls, num_rows: int, seed: int, epoch: int, encoding: PictureEncoding) -> "_Variation":
        generator = np.random.Generator(np.random.Philox(np.random.SeedSequence((seed, epoch))))
        shifts = generator.integers(-encoding.shift, encoding.shift, (num_rows, 2), endpoint=True)
        return cls(shifts, (generator.random(num_rows) < 0.5) & encoding.flip)

    def of(self, rows: NDArray[np.int64]) -> "_Variation":
        return _Variation(self.shifts[rows], self.flips[rows])

    def pick(self, pixels: NDArray[np.uint8], numbers: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Copy the pictures `numbers` with every pixel in its new place; the edge repeats where nothing was."""
        height, width = pixels.shape[1:3]
        down = np.clip(np.arange(height) - self.shifts[:, :1], 0, height - 1)
        right = np.clip(np.arange(width) - self.shifts[:, 1:], 0, width - 1)
        right = np.where(self.flips[:, None], width - 1 - right, right)
        return pixels[numbers[:, None, None], down[:, :, None], right[:, None, :]]


def open_picture_store(corpora: Sequence[Corpus], encoding: PictureEncoding, cache: Path) -> PictureStore:
    """The store of `corpora`, one behind the other: from `cache` where it lies there whole, else built now.

    Raises:
        DataError: no pair is left, or a corpus or a picture cannot be read.
        UsageError: `cache` cannot be written.
    """
    facts = {
        "format": FORMAT,
        "corpora": [corpus.fingerprint() for corpus in corpora],
        "readers": [encoding.reader.fingerprint, encoding.target.fingerprint],
        "max_length": encoding.max_length,
        "skips": encoding.skips,
    }
    key = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]
    return open_cached(
        cache / "pictures" / key,
        open_folder=lambda folder: PictureStore(folder, encoding),
        build=lambda folder: _build(corpora, encoding, folder),
    )


class _Builder:
    """Collects what is kept and what is not."""

    def __init__(self, encoding: PictureEncoding, pixels: FlatWriter) -> None:
        self.encoding = encoding
        self.names: dict[tuple[int, str], int | None] = {}  # None where it cannot be read
        self.num_read = 0
        self.num_more = 0
        self.left_out: dict[str, list[str]] = {}
        self._pixels = pixels

    def number(self, which: int, corpus: Corpus, name: str) -> int | None:
        """The number of a picture, which is read when it is asked for first."""
        key = (which, name)
        if key not in self.names:
            picture = self._read(corpus, name)
            self.names[key] = None if picture is None else self.num_read
            if picture is not None:
                self.num_read += 1
                self.num_more += picture.has_more
                self._pixels.append(self.encoding.reader.fitted(picture.pixels).ravel())
        return self.names[key]

    def _read(self, corpus: Corpus, name: str) -> Picture | None:
        assert corpus.pictures is not None
        reader = self.encoding.reader
        try:
            return corpus.pictures.read(name, channels=reader.channels, wanted=(reader.height, reader.width))
        except DataError as error:
            if not self.encoding.skips:
                raise DataError(f"{error}; mend it; in a recipe `data.on_error: skip` leaves it out") from error
            return None

    def leave_out(self, reason: str, location: str) -> None:
        self.left_out.setdefault(reason, []).append(location)


def _build(corpora: Sequence[Corpus], encoding: PictureEncoding, folder: Path) -> None:
    if not encoding.skips:
        for corpus in corpora:
            _refuse_missing(corpus)
    num_read, numbers = 0, list[int]()
    with ExitStack() as stack:
        targets = stack.enter_context(FlatWriter(folder, "target", "<i4"))
        pixels = stack.enter_context(FlatWriter(folder, "pixels", "|u1"))
        places = stack.enter_context(FlatWriter(folder, "number", "<i8"))
        builder = _Builder(encoding, pixels)
        for which, corpus, row, name, text in _rows(corpora):
            num_read += 1
            ids = encoding.target_ids(text)
            if (reason := _reason_to_leave_out(ids, encoding)) is not None:
                builder.leave_out(reason, corpus.location(row))
            elif (number := builder.number(which, corpus, name)) is None:
                builder.leave_out("the picture cannot be read", corpus.location(row))
            else:
                numbers.append(number)
                targets.append(np.array(ids))
        places.append(np.array(numbers))
        files = targets.finish() | pixels.finish() | places.finish()
    reasons = [
        LeftOut(reason, len(where), tuple(where[:NUM_EXAMPLES])) for reason, where in sorted(builder.left_out.items())
    ]
    refuse_empty(num_read, reasons)
    names = [key for key, number in builder.names.items() if number is not None]
    description = {"format": FORMAT, "num_pairs_read": num_read, "left_out": reasons, "notes": _notes(corpora, builder)}
    (folder / DESCRIPTION).write_text(json.dumps({**description, "files": files, "names": names}), encoding="utf-8")


def _rows(corpora: Sequence[Corpus]) -> Iterator[tuple[int, Corpus, int, str, str]]:
    for which, corpus in enumerate(corpora):
        for row, (name, text) in enumerate(corpus):
            yield which, corpus, row, name, text


def _refuse_missing(corpus: Corpus) -> None:
    """Say at once which pictures are not there, before thousands are decoded."""
    assert corpus.pictures is not None
    missing = [name for name in dict.fromkeys(pair.source for pair in corpus) if not corpus.pictures.has(name)]
    if missing:
        more = f" and {len(missing) - _MOST_NAMED:,} more" if len(missing) > _MOST_NAMED else ""
        shown = ", ".join(corpus.pictures.location(name) for name in missing[:_MOST_NAMED])
        raise DataError(
            f"{corpus.name} names {len(missing):,} picture(s) that are not there: {shown}{more}; bring them, or "
            "set `data.picture.root`; in a recipe `data.on_error: skip` leaves them out"
        )


def _reason_to_leave_out(ids: list[int], encoding: PictureEncoding) -> str | None:
    if len(ids) == 1 + encoding.target.ends_with_eos:
        return "the target is empty"
    if len(ids) - 1 > encoding.max_length:
        return f"the target is longer than max_length {encoding.max_length}"
    return None


def _notes(corpora: Sequence[Corpus], builder: _Builder) -> list[str]:
    notes = [f"{corpus.name}: {sentence}" for corpus in corpora for sentence in corpus.counts.sentences()]
    if builder.num_more:
        notes.append(f"{builder.num_more:,} file(s) hold more than one picture, of which the first is used")
    return notes
