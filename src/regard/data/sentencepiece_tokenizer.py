"""Subwords learnt from the corpus: byte-pair encoding (Sennrich et al. 2016) and unigram pieces (Kudo 2018)."""

import functools
import io
import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast

import sentencepiece

from regard.data.abstract_tokenizer import SPECIAL, UNKNOWN, Tokenizer, TokenizerConfig, group_words, one_line
from regard.errors import DataError, ModelError, UsageError
from regard.symbols import BOS, EOS, NAMES, PAD, UNK

SPACE = "▁"

_RULES = {("nfkc", False): "nmt_nfkc", ("nfkc", True): "nmt_nfkc_cf", ("none", False): "identity"}

# sentencepiece has one seed for the whole process: seeding and sampling must not be torn apart by another thread.
_SEED_LOCK = threading.Lock()


class SentencePieceTokenizer(Tokenizer):
    """Subwords of a SentencePiece model; decoding gives the (NFKC-normalised, single-spaced) text back."""

    suffix = ".model"

    def __init__(self, model: bytes, *, origin: str = "the tokenizer") -> None:
        """Take a serialised model.

        Raises:
            ModelError: `model` is no SentencePiece model, or its special ids are not those of `regard.symbols`.
        """
        self._model = model
        self._processor = _open(model, origin)
        self.kind = "subwords"
        try:
            self._pieces = tuple(
                str(self._processor.id_to_piece(identity)) for identity in range(self._processor.get_piece_size())
            )
        except UnicodeDecodeError as error:
            raise ModelError(f"{origin} is damaged: a piece is not UTF-8") from error

    @property
    def size(self) -> int:
        """Number of ids, special symbols included."""
        return len(self._pieces)

    def encode(self, text: str) -> list[int]:
        """The best segmentation of `text`."""
        return cast(list[int], self._processor.encode(text))

    def sample(self, text: str, seed: int, *, rate: float) -> list[int]:
        """A segmentation drawn with BPE dropout `rate`, or from the unigram model smoothed with exponent `rate`.

        Raises:
            UsageError: The installed sentencepiece cannot be seeded more than once (before 0.2.3).
        """
        if not self._is_seedable:
            raise UsageError(
                f"tokenizer.sampling needs sentencepiece 0.2.3, and {sentencepiece.__version__} is installed: "
                "what it draws cannot be repeated; upgrade it or set sampling: 0"
            )
        with _SEED_LOCK:
            return self._draw(text, seed, rate)

    def _draw(self, text: str, seed: int, rate: float) -> list[int]:
        sentencepiece.set_random_generator_seed(seed % 2**32)
        return cast(list[int], self._processor.encode(text, enable_sampling=True, alpha=rate, nbest_size=-1))

    @functools.cached_property
    def _is_seedable(self) -> bool:
        # Older versions take the first seed only.
        text = "".join(piece for piece in self._pieces[4:] if len(piece) > 1)[:1000]
        with _SEED_LOCK:
            return self._draw(text, 1, 0.5) == self._draw(text, 1, 0.5)

    def decode(self, ids: Iterable[int]) -> str:
        """Join the pieces of `ids`; "▁" and line breaks become spaces."""
        return one_line(self._processor.decode([identity for identity in map(int, ids) if identity not in SPECIAL]))

    def pieces(self, ids: Iterable[int]) -> list[str]:
        """The pieces as learnt, each word's first one with "▁" in front."""
        return [self._pieces[int(identity)] for identity in ids]

    def words(self, ids: Sequence[int]) -> list[int]:
        """A piece with "▁" in front starts a word."""
        return group_words(ids, lambda identity: self._pieces[identity].startswith(SPACE))

    def to_bytes(self) -> bytes:
        """The SentencePiece model, serialised."""
        return self._model


def learn_subwords(config: TokenizerConfig, texts: Iterable[str]) -> SentencePieceTokenizer:
    """Learn `config.size` subwords from `texts`; the same texts in the same order give the same bytes.

    Raises:
        UsageError: `texts` has too little variety for `config.size`, or too much.
        DataError: `texts` are all blank.
    """
    writer = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=_without_blanks(texts),
            model_writer=writer,
            model_type=config.kind,
            vocab_size=config.size,
            character_coverage=config.character_coverage,
            byte_fallback=config.byte_fallback,
            normalization_rule_name=_RULES[config.normalization, config.lowercase],
            pad_id=PAD,
            unk_id=UNK,
            bos_id=BOS,
            eos_id=EOS,
            pad_piece=NAMES[PAD],
            unk_piece=NAMES[UNK],
            bos_piece=NAMES[BOS],
            eos_piece=NAMES[EOS],
            unk_surface=UNKNOWN,
            max_sentence_length=1 << 20,
            num_threads=4,  # part of the result: sums are taken per thread
            minloglevel=2,
        )
    except RuntimeError as error:
        raise _explain(error, config) from error
    return SentencePieceTokenizer(writer.getvalue())


def _without_blanks(texts: Iterable[str]) -> Iterator[str]:
    """`texts` but the blank ones, of which the trainer cannot learn.

    Raises:
        DataError: Nothing is left.
    """
    empty = True
    for text in texts:
        if text.strip():
            empty = False
            yield text
    if empty:
        raise DataError("there is no text to learn a tokenizer from; are the files of `data.train` empty?")


def _explain(error: RuntimeError, config: TokenizerConfig) -> UsageError:
    text = str(error)
    if found := re.search(r"too high \(\d+\).*?<= *(\d+)", text):
        return UsageError(
            f"tokenizer: size {config.size} is more than this corpus can give; "
            f"the largest possible size here is {found[1]} (or use kind: characters or words)"
        )
    if found := re.search(r"smaller than required_chars\. (\d+) vs (\d+)", text):
        return UsageError(
            f"tokenizer: size {config.size} is less than the {found[2]} characters of this corpus; "
            "raise it, or lower character_coverage"
        )
    return UsageError(f"tokenizer: sentencepiece could not learn {config.size} {config.kind} pieces: {text.strip()}")


def _open(model: bytes, origin: str) -> Any:
    processor = sentencepiece.SentencePieceProcessor()
    try:
        # Asked for by its own name: an empty model would otherwise be taken for "no model yet".
        processor.LoadFromSerializedProto(model)
        ids = (processor.pad_id(), processor.unk_id(), processor.bos_id(), processor.eos_id())
    except (RuntimeError, ValueError, TypeError) as error:
        raise ModelError(f"{origin} is not a SentencePiece model, or damaged: {str(error).strip()}") from error
    if ids != (PAD, UNK, BOS, EOS):
        raise ModelError(
            f"{origin} has the special ids <pad>, <unk>, <s>, </s> = {', '.join(map(str, ids))}, not 0, 1, 2, 3: "
            "it was not made by regard"
        )
    if not processor.is_unknown(UNK) or not all(processor.is_control(identity) for identity in SPECIAL):
        raise ModelError(f"{origin} is damaged: one of its ids 0, 1, 2, 3 is a piece that a text could produce")
    return processor
