"""A corpus as ids on disk: tokenised once, then memory-mapped, so that no corpus is too large for memory."""

import copy
import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int
from numpy.typing import NDArray
from torch import Tensor

from regard.data.abstract_store import LeftOut as LeftOut
from regard.data.abstract_store import Store
from regard.data.abstract_tokenizer import Tokenizer
from regard.data.cache import open_cached
from regard.data.corpus import Corpus
from regard.data.flat_file import FlatFile, FlatWriter, map_flat
from regard.data.padding import pad_rows
from regard.errors import DataError
from regard.symbols import BOS, EOS

FORMAT = 1
NUM_EXAMPLES = 10
DESCRIPTION = "store.json"
_SIDES = ("source", "target")


class Example(NamedTuple):
    """A pair as ids, special symbols included, and as texts."""

    source: list[int]
    target: list[int]
    source_text: str
    target_text: str


class Encoding(NamedTuple):
    """How pairs become ids. `rates` are the sampling rates of source and target (0: one fixed segmentation).

    `max_length` bounds the positions of a side: its ids and one `EOS`.
    """

    source: Tokenizer
    target: Tokenizer
    max_length: int
    rates: tuple[float, float] = (0.0, 0.0)

    @property
    def is_sampled(self) -> bool:
        """Whether a pair's ids differ from epoch to epoch."""
        return any(self.rates)

    def encode(self, source: str, target: str) -> tuple[list[int], list[int]]:
        """Ids of a pair: `EOS` ends both, `BOS` begins the target; labels and tags have no `EOS`."""
        return [*self.source.encode(source), EOS], self._whole(self.target.encode(target))

    def examples(self, source: str, target: str, *, has_source: bool = True) -> Iterator["Example"]:
        """The pair as ids; a target without source, where it is longer than `max_length`, cut between words."""
        source_ids, target_ids = self.encode(source, target)
        if has_source or len(target_ids) - 1 <= self.max_length:
            yield Example(source_ids, target_ids, source, target)
            return
        ids = self.target.encode(target)
        for piece in cut_between_words(ids, self.target.words(ids), self.max_length - 1):
            yield Example(source_ids, self._whole(piece), source, self.target.decode(piece))

    def reason_to_leave_out(self, example: "Example", *, has_source: bool = True) -> str | None:
        """What is wrong with `example`, as the end of a sentence; None where nothing is."""
        source, target = example.source, example.target
        if has_source and len(source) == 1:
            return "the source is empty"
        if len(target) == len(self._whole([])):
            return "the target is empty"
        if len(source) > self.max_length:
            return f"the source is longer than max_length {self.max_length}"
        if len(target) - 1 > self.max_length:
            return f"the target is longer than max_length {self.max_length}"
        if self.target.kind == "tags" and len(target) - 1 != 1 + self.source.words(source[:-1])[-1]:
            return "there is not one tag for each word"
        return None

    def _whole(self, target: list[int]) -> list[int]:
        return [BOS, *target, EOS] if self.target.ends_with_eos else [BOS, *target]

    def writers(self, folder: Path, names: tuple[str | None, str | None] = (None, None)) -> list[FlatWriter]:
        """Files for the ids of both sides, two bytes an id where that is enough; by default they have no names."""
        sizes = (self.source.size, self.target.size)
        return [
            FlatWriter(folder, name, "<u2" if size <= 2**16 else "<i4") for name, size in zip(names, sizes, strict=True)
        ]


class TokenStore(Store):
    """Pairs of ids: sources end in `EOS`, targets are `BOS` ... `EOS`."""

    def __init__(self, folder: Path, encoding: Encoding) -> None:
        """Map a folder that `open_store` has published.

        Raises:
            DataError: It is damaged.
        """
        description = read_description(folder)
        files = description["files"]
        self.folder = folder
        self.num_pairs_read = int(description["num_pairs_read"])
        self.notes = [str(note) for note in description["notes"]]
        self.left_out = [LeftOut(reason, count, tuple(where)) for reason, count, where in description["left_out"]]
        self._encoding = encoding
        self._place(map_flat(folder, "source", files), map_flat(folder, "target", files))
        self._texts: tuple[FlatFile, ...] = ()
        if encoding.is_sampled:
            self._texts = tuple(map_flat(folder, f"{side}_text", files) for side in _SIDES)

    def _place(self, sources: FlatFile, targets: FlatFile) -> None:
        if len(sources) != len(targets):
            raise DataError(f"{self.folder} is damaged: {len(sources)} sources, {len(targets)} targets")
        self.sources, self.targets = sources, targets
        self.source_lengths = sources.lengths
        self.target_lengths = targets.lengths - 1

    @property
    def is_sampled(self) -> bool:
        """Whether each epoch has segmentations of its own, which `resample` draws."""
        return bool(self._texts)

    def source(self, row: int) -> NDArray[Any]:
        """The source ids of pair `row`, `EOS` at the end."""
        return self.sources[row]

    def source_batch(self, rows: NDArray[np.int64]) -> Int[Tensor, "batch source_length"]:
        """The source ids of `rows`, padded with `PAD`."""
        return pad_rows(self.sources, rows)

    def resample(self, seed: int, epoch: int) -> "TokenStore":
        """The same pairs in segmentations drawn for `epoch`: a pure function of (seed, epoch, row).

        Raises:
            UsageError: The installed sentencepiece draws without regard to a seed.
        """
        if not self.is_sampled:
            return self
        seeds = np.random.Generator(np.random.Philox(np.random.SeedSequence((seed, epoch)))).integers(
            2**32, size=(len(self), 2)
        )
        drawn = copy.copy(self)
        with ExitStack() as stack:
            writers = [stack.enter_context(writer) for writer in self._encoding.writers(self.folder.parent)]
            for row, pair_seeds in enumerate(seeds):
                for side, writer in enumerate(writers):
                    writer.append(self._draw(side, row, int(pair_seeds[side])))
            for writer in writers:
                writer.finish()
            drawn._place(*(writer.map() for writer in writers))
        return drawn

    def _draw(self, side: int, row: int, seed: int) -> NDArray[Any]:
        """The source (`side` 0) or target (1) of `row`, drawn anew; too long a draw gives way to the fixed ids."""
        fixed = (self.sources, self.targets)[side][row]
        rate = self._encoding.rates[side]
        if not rate:
            return fixed
        tokenizer = (self._encoding.source, self._encoding.target)[side]
        ids = tokenizer.sample(bytes(self._texts[side][row]).decode("utf-8"), seed, rate=rate)
        return fixed if len(ids) + 1 > self._encoding.max_length else np.array([BOS, *ids, EOS][1 - side :])


def open_store(corpora: Sequence[Corpus], encoding: Encoding, cache: Path) -> TokenStore:
    """The store of `corpora`, one behind the other: from `cache` where it lies there whole, else built now.

    Raises:
        DataError: No pair is left, or a corpus cannot be read.
        UsageError: `cache` cannot be written.
    """
    return open_cached(
        cache / "stores" / _key(corpora, encoding),
        open_folder=lambda folder: TokenStore(folder, encoding),
        build=lambda folder: _build(corpora, encoding, folder),
    )


def _key(corpora: Sequence[Corpus], encoding: Encoding) -> str:
    facts = {
        "format": FORMAT,
        "corpora": [corpus.fingerprint() for corpus in corpora],
        "tokenizers": [encoding.source.fingerprint, encoding.target.fingerprint],
        "max_length": encoding.max_length,
        "texts": encoding.is_sampled,
    }
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]


def _build(corpora: Sequence[Corpus], encoding: Encoding, folder: Path) -> None:
    left_out: dict[str, list[tuple[int, int]]] = {}
    num_read = 0
    with ExitStack() as stack:
        writers = [stack.enter_context(writer) for writer in encoding.writers(folder, _SIDES)]
        if encoding.is_sampled:
            writers += [stack.enter_context(FlatWriter(folder, f"{side}_text", "|u1")) for side in _SIDES]
        for place, example, reason in _examples(corpora, encoding):
            num_read += 1
            if reason is not None:
                left_out.setdefault(reason, []).append(place)
                continue
            arrays = [np.array(example.source), np.array(example.target)]
            if encoding.is_sampled:
                texts = (example.source_text, example.target_text)
                arrays += [np.frombuffer(text.encode("utf-8"), np.uint8) for text in texts]
            for writer, values in zip(writers, arrays, strict=True):
                writer.append(values)
        files: dict[str, list[int]] = {}
        for writer in writers:
            files |= writer.finish()
    reasons = [
        LeftOut(reason, len(places), tuple(corpora[which].location(row) for which, row in places[:NUM_EXAMPLES]))
        for reason, places in sorted(left_out.items())
    ]
    refuse_empty(num_read, reasons)
    notes = [f"{corpus.name}: {sentence}" for corpus in corpora for sentence in corpus.counts.sentences()]
    description = {"format": FORMAT, "num_pairs_read": num_read, "left_out": reasons, "notes": notes, "files": files}
    (folder / DESCRIPTION).write_text(json.dumps(description, indent=1), encoding="utf-8")


def _examples(corpora: Sequence[Corpus], encoding: Encoding) -> Iterator[tuple[tuple[int, int], Example, str | None]]:
    """Each pair, or part of a text, with its place (which corpus, which row), and why it is left out, if it is."""
    for which, corpus in enumerate(corpora):
        for row, (source, target) in enumerate(corpus):
            for example in encoding.examples(source, target, has_source=corpus.has_source):
                yield (which, row), example, encoding.reason_to_leave_out(example, has_source=corpus.has_source)


def cut_between_words(ids: list[int], words: Sequence[int], most: int) -> Iterator[list[int]]:
    """Parts of at most `most` ids, each as long as it can be; a word that alone is longer is a part of its own."""
    start = end = 0
    for place in [*(place for place in range(1, len(ids)) if words[place] != words[place - 1]), len(ids)]:
        if place - start > most and end > start:
            yield ids[start:end]
            start = end
        end = place
    yield ids[start:]


def refuse_empty(num_read: int, reasons: list[LeftOut]) -> None:
    """Let only a store pass that has examples.

    Raises:
        DataError: it has none; the message says why.
    """
    if num_read == 0:
        raise DataError("the corpus is empty: not one pair of lines; look at the paths in the recipe's block `data`")
    if num_read == sum(reason.num_pairs for reason in reasons):
        causes = "; ".join(str(reason) for reason in reasons)
        raise DataError(f"none of the {num_read} pairs can be used: {causes}; raise max_length or mend the corpus")


def read_description(folder: Path) -> dict[str, Any]:
    """What the folder of a store says about itself.

    Raises:
        DataError: nothing that can be understood.
    """
    try:
        description = json.loads((folder / DESCRIPTION).read_bytes())
        complete = {"format", "num_pairs_read", "left_out", "notes", "files"} <= set(description)
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"{folder / DESCRIPTION} cannot be read: {error}") from error
    if not complete or description["format"] != FORMAT:
        raise DataError(f"{folder / DESCRIPTION} is not a description of format {FORMAT}")
    return dict(description)
