"""From the recipe's block `data` to vocabularies, token stores and test sets."""

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import sentencepiece
from pydantic import Field, model_validator

from regard.config.base import Config
from regard.data.abstract_store import Store
from regard.data.abstract_tokenizer import LABEL_KINDS
from regard.data.cache import open_cached
from regard.data.corpus import Corpus, Format, TestItem, open_corpus, read_test_items
from regard.data.corpus_base import Reading
from regard.data.corpus_split import SplitCorpus
from regard.data.files import expanded
from regard.data.open_pictures import open_picture_corpus
from regard.data.picture_reader import PictureConfig, PictureReader
from regard.data.picture_store import PictureEncoding, PictureStore, open_picture_store
from regard.data.reader import Reader
from regard.data.store import Encoding, open_store
from regard.data.tokenizer import Tokenizer, TokenizerConfig, find, learn, load
from regard.errors import DataError, ModelError, UsageError

FORMAT = 1
# A tokenizer learns no more from more lines than this; every n-th line is taken of a larger corpus.
MOST_LINES_TO_LEARN_FROM = 2_000_000


class DataConfig(Config):
    """Where the corpora are and how they become ids.

    Paths are relative to `root`, and `root` to the folder of the recipe. A Moses pair is named by what its two
    files share: `train: [corpus/train]` with `source: en`, `target: de` are corpus/train.en and corpus/train.de.
    Either `tokenizer` (one vocabulary for both sides) or `source_tokenizer` and `target_tokenizer`.
    `columns` are the places, from 1, of source and target in TSV and CoNLL: `[2, 1]` reads a file backwards.
    `history` is how many turns before a reply are read, in conversations.
    Of kind `labels` or `tags` only `target_tokenizer` can be: the model then labels its source. Plain text (`format:
    text`), of which a language model learns, has one `tokenizer`.
    With `picture` the sources are pictures, and only `target_tokenizer` is given.
    Instead of naming `validation`, `hold_out` sets a share of the training pairs aside to validate on.
    `max_length` bounds the positions of a side, end of sentence included; longer pairs are left out and reported.
    """

    root: str = "."
    format: Format = "auto"
    source: str = "source"
    target: str = "target"
    columns: list[Annotated[int, Field(ge=1)]] | None = Field(None, min_length=2, max_length=2)
    history: int | None = Field(None, ge=1)
    train: list[str] = Field(min_length=1)
    validation: str | None = None
    hold_out: float = Field(0.0, ge=0, lt=0.5)
    test: list[str] = Field(default=[])
    picture: PictureConfig | None = None
    tokenizer: TokenizerConfig | None = None
    source_tokenizer: TokenizerConfig | None = None
    target_tokenizer: TokenizerConfig | None = None
    max_length: int = Field(256, ge=2)
    on_error: Literal["error", "replace", "skip"] = "error"
    cache: str | None = None

    @model_validator(mode="after")
    def _one_or_two_tokenizers(self) -> "DataConfig":
        sides = (self.source_tokenizer, self.target_tokenizer)
        if self.picture is not None:
            if self.target_tokenizer is None or (self.tokenizer, self.source_tokenizer) != (None, None):
                raise ValueError("pictures have no tokenizer: beside `picture` give `target_tokenizer` alone")
            return self
        if self.tokenizer is not None and sides != (None, None):
            raise ValueError("give `tokenizer` (one for both sides), or the two others; not both")
        if self.tokenizer is None and None in sides:
            raise ValueError("give `tokenizer` (one for both sides), or `source_tokenizer` and `target_tokenizer`")
        return self

    @model_validator(mode="after")
    def _labels_are_targets(self) -> "DataConfig":
        for name, tokenizer in (("tokenizer", self.tokenizer), ("source_tokenizer", self.source_tokenizer)):
            if tokenizer is not None and tokenizer.kind in LABEL_KINDS:
                raise ValueError(f"`{name}` cannot be of kind `{tokenizer.kind}`, only `target_tokenizer` can")
        if self.format == "text" and self.tokenizer is None:
            raise ValueError("plain text has no sources: give `tokenizer` instead of one for each side")
        return self

    @model_validator(mode="after")
    def _settings_agree(self) -> "DataConfig":
        if self.validation is not None and self.hold_out:
            raise ValueError("give `validation` (a corpus of its own) or `hold_out` (a share of `train`); not both")
        if self.columns is not None and self.format not in ("auto", "tsv", "conll"):
            raise ValueError(f"`columns` are for the formats tsv and conll, not for {self.format}; leave them out")
        return self

    @property
    def validation_name(self) -> str:
        """What is validated on, for people; empty where nothing is."""
        if self.hold_out:
            return f"{self.hold_out:g} of {' and '.join(self.train)}, held out"
        return self.validation or ""


class Sizes(NamedTuple):
    """The sizes of the two vocabularies, and whether they are one; of pictures channels, height and width."""

    source: int
    target: int
    shared: bool
    height: int = 0
    width: int = 0


class Vocabularies(NamedTuple):
    """The tokenizers of both sides, one object where they share one; for pictures a reader in the source's place."""

    source: Reader
    target: Tokenizer

    @property
    def source_tokenizer(self) -> Tokenizer:
        """The source's, for whoever has texts.

        Raises:
            UsageError: the model reads pictures.
        """
        if not isinstance(self.source, Tokenizer):
            raise UsageError("this model reads pictures, not text; use `regard caption` or `regard classify`")
        return self.source

    @property
    def reads_pictures(self) -> bool:
        """Whether the sources are pictures."""
        return isinstance(self.source, PictureReader)

    @property
    def pictures(self) -> PictureReader:
        """The source's, for whoever has pictures.

        Raises:
            UsageError: the model reads text.
        """
        if not isinstance(self.source, PictureReader):
            raise UsageError("this model reads text, not pictures")
        return self.source

    @property
    def dimensions(self) -> Sizes:
        """What a model must know of them."""
        sides = self.source.shape[:2] if isinstance(self.source, PictureReader) else (0, 0)
        return Sizes(self.source.size, self.target.size, self.source is self.target, *sides)

    @property
    def files(self) -> dict[str, bytes]:
        """Their files by name: what `save` writes."""
        names = {"tokenizer": self.source} if self.dimensions.shared else {"source": self.source, "target": self.target}
        return {f"{name}{tokenizer.suffix}": tokenizer.to_bytes() for name, tokenizer in names.items()}

    def save(self, folder: Path) -> None:
        """Write `tokenizer`, or `source` and `target`, into `folder`."""
        if self.dimensions.shared:
            self.source.save(folder, "tokenizer")
        else:
            self.source.save(folder, "source")
            self.target.save(folder, "target")

    @classmethod
    def load(cls, folder: Path) -> "Vocabularies":
        """Read what `save` wrote.

        Raises:
            ModelError: A file is missing or damaged.
        """
        if (pictures := folder / f"source{PictureReader.suffix}").is_file():
            return cls(PictureReader.load(pictures), load(folder, "target"))
        if find(folder, "source") is not None or find(folder, "target") is not None:
            return cls(load(folder, "source"), load(folder, "target"))
        shared = load(folder, "tokenizer")
        return cls(shared, shared)


class Dataset(NamedTuple):
    """All that training and evaluation read. `report` holds one sentence for all that was left out or changed."""

    config: DataConfig
    vocabularies: Vocabularies
    train: Store
    validation: Store | None
    validation_items: list[TestItem]
    report: list[str]
    base: Path


def prepare(config: DataConfig, vocabularies: Vocabularies | None = None, *, base: Path | None = None) -> Dataset:
    """Open the corpora, learn the tokenizers (unless `vocabularies` are given), and build or find the stores.

    `base` is the folder that `config.root` is relative to: the recipe's; by default the working directory.

    Raises:
        DataError: A corpus is missing, damaged, or has no pair that can be used; or nothing is held out.
        UsageError: A tokenizer cannot be learnt as asked, or the cache cannot be written.
    """
    base = Path() if base is None else base
    corpora, held_out = open_split(config, base)
    for name in config.test:  # nobody reads them yet, but a wrong name shall not wait until the model is trained
        open_named(config, name, base)
    if config.hold_out:
        _refuse_empty_side(config, corpora, held_out)
    cache = cache_folder(config, base)
    if vocabularies is None:
        vocabularies = _learn_once(config, corpora, cache)
    train = _open_store(config, corpora, vocabularies, cache, training=True)
    validation = _open_store(config, held_out, vocabularies, cache, training=False) if held_out else None
    items = _items(held_out, validation)
    report = [*_report("train", train), *(() if validation is None else _report("validation", validation))]
    return Dataset(config, vocabularies, train, validation, items, report, base)


def _open_store(
    config: DataConfig, corpora: Sequence[Corpus], vocabularies: Vocabularies, cache: Path, *, training: bool
) -> Store:
    if config.picture is not None:
        seen = PictureEncoding(vocabularies.pictures, vocabularies.target, config.max_length)
        seen = seen._replace(skips=config.on_error == "skip")
        if training:
            seen = seen._replace(shift=config.picture.shift, flip=config.picture.flip)
        return open_picture_store(corpora, seen, cache)
    encoding = Encoding(vocabularies.source_tokenizer, vocabularies.target, config.max_length)
    if training:
        encoding = encoding._replace(rates=_sampling_rates(config))
    return open_store(corpora, encoding, cache)


def _items(corpora: Sequence[Corpus], store: Store | None) -> list[TestItem]:
    """The items to validate on; of pictures those that could be read, item i of which is picture i of the store."""
    if not isinstance(store, PictureStore):
        return [item for corpus in corpora for item in read_test_items(corpus)]
    items = {(which, item.source): item for which, corpus in enumerate(corpora) for item in read_test_items(corpus)}
    return [items[name] for name in store.names]


def cache_folder(config: DataConfig, base: Path) -> Path:
    """`data.cache`, or $REGARD_CACHE, or the user's cache folder."""
    if config.cache is not None:
        return base / config.root / expanded(config.cache)
    if named := os.environ.get("REGARD_CACHE"):
        return expanded(named)
    return expanded(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "regard"


def open_named(config: DataConfig, name: str, base: Path) -> Corpus:
    """The whole corpus `name`, one that `config` names; `config.root` is relative to `base`.

    Raises:
        UsageError: `config` has a setting that the corpus's format does not have.
        DataError: There is no such corpus, or it cannot be read.
    """
    root = base / expanded(config.root)
    columns = None if config.columns is None else (config.columns[0], config.columns[1])
    if config.picture is not None:
        return open_picture_corpus(
            root / expanded(name),
            root=None if config.picture.root is None else root / expanded(config.picture.root),
            format=config.format,
            source=config.source,
            target=config.target,
            columns=columns,
            reading=Reading(config.on_error),
        )
    return open_corpus(
        root / expanded(name),
        format=config.format,
        source=config.source,
        target=config.target,
        columns=columns,
        history=config.history,
        on_error=config.on_error,
    )


def open_split(config: DataConfig, base: Path) -> tuple[list[Corpus], list[Corpus]]:
    """The corpora to train on, one for each of `config.train`, and those to validate on, if any.

    Raises:
        UsageError: `config` has a setting that the format of a corpus does not have.
        DataError: A corpus is missing, or cannot be read.
    """
    whole = [open_named(config, name, base) for name in config.train]
    if config.hold_out:
        train, held_out = (
            [SplitCorpus(corpus, config.hold_out, held_out=side) for corpus in whole] for side in (False, True)
        )
        return [*train], [*held_out]
    return whole, [] if config.validation is None else [open_named(config, config.validation, base)]


def _refuse_empty_side(config: DataConfig, train: Sequence[Corpus], held_out: Sequence[Corpus]) -> None:
    for corpora, use, change in ((held_out, "validate", "a larger"), (train, "train", "a smaller")):
        if not any(True for corpus in corpora for _ in corpus):
            raise DataError(
                f"`hold_out: {config.hold_out:g}` of {' and '.join(config.train)} leaves nothing to {use} on; "
                f"set {change} share, or name a `validation` corpus"
            )


def learn_target(config: DataConfig, base: Path) -> Tokenizer:
    """The target's tokenizer alone, for a source whose tokenizer is there already.

    Raises:
        UsageError: the recipe names one tokenizer for both sides, or one that cannot be learnt as asked.
        DataError: a corpus is missing, or cannot be read.
    """
    if config.target_tokenizer is None:
        raise UsageError("the source's tokenizer is given, so data needs `target_tokenizer` in place of `tokenizer`")
    return learn(config.target_tokenizer, _texts(open_split(config, base)[0], sides=(1,)))


def _learn_once(config: DataConfig, corpora: Sequence[Corpus], cache: Path) -> Vocabularies:
    configs = (config.tokenizer, config.source_tokenizer, config.target_tokenizer)
    tokenizers = [x and x.model_dump(exclude={"sampling"}) for x in configs]
    if config.picture is not None:
        tokenizers.append(config.picture.form)
    facts = [FORMAT, sentencepiece.__version__, tokenizers, [corpus.fingerprint() for corpus in corpora]]
    key = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]

    def build(folder: Path) -> None:
        learnt = _learn(config, corpora)
        learnt.save(folder)
        (folder / "fingerprints").write_text(_fingerprints(learnt))

    return open_cached(cache / "tokenizers" / key, open_folder=_open_learnt, build=build)


def _open_learnt(folder: Path) -> Vocabularies:
    found = Vocabularies.load(folder)
    try:
        # A damaged SentencePiece model may well load, and then cut words in other places.
        if (folder / "fingerprints").read_text() == _fingerprints(found):
            return found
    except (OSError, ValueError) as error:
        raise ModelError(f"{folder / 'fingerprints'} cannot be read: {error}") from error
    raise ModelError(f"{folder} is damaged: its tokenizers are not those that were learnt")


def _fingerprints(vocabularies: Vocabularies) -> str:
    return f"{vocabularies.source.fingerprint} {vocabularies.target.fingerprint}\n"


def _learn(config: DataConfig, corpora: Sequence[Corpus]) -> Vocabularies:
    if config.tokenizer is not None:
        shared = learn(config.tokenizer, _texts(corpora, sides=(0, 1)))
        return Vocabularies(shared, shared)
    assert config.target_tokenizer is not None
    target = learn(config.target_tokenizer, _texts(corpora, sides=(1,)))
    if config.picture is not None:
        return Vocabularies(PictureReader(config.picture), target)
    assert config.source_tokenizer is not None
    return Vocabularies(learn(config.source_tokenizer, _texts(corpora, sides=(0,))), target)


def _texts(corpora: Sequence[Corpus], *, sides: Sequence[int]) -> Iterator[str]:
    every = 1 + sum(map(len, corpora)) * len(sides) // MOST_LINES_TO_LEARN_FROM
    for corpus in corpora:
        for pair in islice(corpus, 0, None, every):
            yield from (pair[side] for side in sides if side == 1 or corpus.has_source)


def _sampling_rates(config: DataConfig) -> tuple[float, float]:
    source, target = config.tokenizer or config.source_tokenizer, config.tokenizer or config.target_tokenizer
    assert source is not None
    assert target is not None
    return source.sampling, target.sampling


def _report(name: str, store: Store) -> list[str]:
    kept = f"{name}: {len(store):,} of {store.num_pairs_read:,} pairs are used"
    return [kept, *(f"{name}: {reason} left out" for reason in store.left_out), *(f"{name}: {x}" for x in store.notes)]
