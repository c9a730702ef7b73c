"""What every tokenizer can do, and how one is described in a recipe."""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Literal

from pydantic import Field, model_validator

from regard.config.base import Config
from regard.config.departs import departs
from regard.data.reader import Reader
from regard.symbols import BOS, EOS, NAMES, PAD, UNK

SUBWORD_KINDS = ("unigram", "bpe")
LABEL_KINDS = ("labels", "tags")
SPECIAL = frozenset((PAD, BOS, EOS))
UNKNOWN = NAMES[UNK]

# Which settings mean something to which kinds; the others must stay at their defaults.
_EFFECTS = {
    "size": SUBWORD_KINDS,
    "sampling": SUBWORD_KINDS,
    "character_coverage": SUBWORD_KINDS,
    "byte_fallback": SUBWORD_KINDS,
    "normalization": SUBWORD_KINDS,
    "min_frequency": ("characters", "words", "symbols"),
    "lowercase": ("unigram", "bpe", "characters", "words"),
    "until": ("labels",),
}


class TokenizerConfig(Config):
    """How text becomes ids: learnt subwords, characters, words, symbols that are given apart already, or bytes.

    Of kind `labels` a whole target is one symbol, the label of its source; of kind `tags` a target has one symbol for
    each word of its source. Of a label, only what stands before the first `until` counts: with ":" `NUM:date` is `NUM`.

    `size` counts the four special symbols. `sampling` is the dropout rate of BPE merges (Provilkov et al. 2020)
    or the smoothing exponent of unigram sampling (Kudo 2018); 0 means one fixed segmentation.
    """

    kind: Literal["unigram", "bpe", "characters", "words", "symbols", "bytes", "labels", "tags"] = "unigram"
    size: int = Field(8000, ge=8, le=1_000_000)
    sampling: float = Field(0.0, ge=0.0, le=1.0)
    character_coverage: float = Field(1.0, gt=0.9, le=1.0)
    byte_fallback: bool = False
    normalization: Literal["nfkc", "none"] = "nfkc"
    min_frequency: int = Field(1, ge=1)
    lowercase: bool = False
    until: str | None = Field(None, min_length=1)

    @model_validator(mode="after")
    def _every_setting_has_an_effect(self) -> "TokenizerConfig":
        for name, kinds in _EFFECTS.items():
            if self.kind not in kinds and departs(self, name):
                raise ValueError(f"`{name}` has no effect on kind `{self.kind}`, only on {', '.join(kinds)}")
        if self.lowercase and self.normalization == "none":
            raise ValueError("`lowercase` is a part of normalization nfkc; leave out `normalization: none`")
        return self


class Tokenizer(Reader):
    """Text to ids and back. Ids 0-3 are special (`regard.symbols`), and no text can ever produce `PAD`, `BOS`, `EOS`.

    A tokenizer is one file, `<name>` + `suffix`; `fingerprint` is the SHA-256 of its bytes.
    """

    kind: str
    ends_with_eos: bool = True  # False for labels and tags: how many there are is known from the source

    @property
    def kinds(self) -> tuple[str, ...]:
        """What a recipe may call it."""
        return SUBWORD_KINDS if self.kind == "subwords" else (self.kind,)

    @property
    @abstractmethod
    def size(self) -> int:
        """Number of ids, special symbols included."""

    @abstractmethod
    def encode(self, text: str) -> list[int]:
        """The ids of `text`, without `BOS` and `EOS`; what the vocabulary lacks becomes `UNK`."""

    @abstractmethod
    def sample(self, text: str, seed: int, *, rate: float) -> list[int]:
        """A random segmentation of `text`: a pure function of its arguments."""

    @abstractmethod
    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids`; `PAD`, `BOS` and `EOS` are dropped, `UNK` reads "<unk>"."""

    @abstractmethod
    def pieces(self, ids: Iterable[int]) -> list[str]:
        """A readable name for each id, such as "▁Haus"; "▁" stands for a space."""

    @abstractmethod
    def words(self, ids: Sequence[int]) -> list[int]:
        """For each id the index of the whitespace word it belongs to; `PAD`, `BOS`, `EOS` are words of their own."""


def one_line(text: str) -> str:
    """`text` with spaces for line breaks, which a model that says bytes may say: an output is one line."""
    return text.replace("\n", " ").replace("\r", " ")


def group_words(ids: Iterable[int], starts: Callable[[int], bool]) -> list[int]:
    """For each id the index of its word; `starts` tells which ids begin one, and special ids are words of their own."""
    words: list[int] = []
    alone = True
    for identity in map(int, ids):
        special = identity in SPECIAL
        new = alone or special or starts(identity)
        words.append(words[-1] + int(new) if words else 0)
        alone = special
    return words
