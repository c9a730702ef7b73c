"""Vocabularies that are lists: characters, words, symbols such as phonemes, labels of texts, tags of words."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from regard.data.abstract_tokenizer import LABEL_KINDS, SPECIAL, Tokenizer, TokenizerConfig, group_words
from regard.errors import DataError, ModelError, UsageError
from regard.symbols import NAMES, UNK

FORMAT = 1
KINDS = ("characters", "words", "symbols", *LABEL_KINDS)


class ListTokenizer(Tokenizer):
    """A table of symbols: characters of a text, what stands between spaces (words, phonemes, tags), or whole labels.

    Of kind `characters`, a space is a character like others. Text is single-spaced first, so
    `decode(encode(text))` is `" ".join(text.split())` wherever every symbol is known.
    """

    suffix = ".json"

    def __init__(self, kind: str, symbols: Sequence[str], *, lowercase: bool = False, until: str | None = None) -> None:
        if kind not in KINDS:
            raise ValueError(f"kind {kind!r} is none of {KINDS}")
        if len(set(symbols)) != len(symbols):
            raise ValueError("a symbol stands twice in the table")
        self.kind = kind
        self.symbols = tuple(symbols)
        self.lowercase = lowercase
        self.until = until
        self.ends_with_eos = kind not in LABEL_KINDS
        # The names of the special symbols are not in the table of ids: a text that says "</s>" means just that.
        self._ids = {symbol: identity for identity, symbol in enumerate(self.symbols, len(NAMES))}
        self._names = (*NAMES, *self.symbols)

    @property
    def size(self) -> int:
        """Number of ids, special symbols included."""
        return len(self._names)

    def encode(self, text: str) -> list[int]:
        """One id a character or word; of a label, one for the whole."""
        identities = self._ids
        symbols = split(self.kind, text, lowercase=self.lowercase, until=self.until)
        return [identities.get(symbol, UNK) for symbol in symbols]

    def sample(self, text: str, seed: int, *, rate: float) -> list[int]:
        """There is only one way to cut `text`.

        Raises:
            ValueError: `rate` is not 0.
        """
        if rate:
            raise ValueError(f"a tokenizer of kind {self.kind} has one segmentation only: nothing to sample")
        return self.encode(text)

    def decode(self, ids: Iterable[int]) -> str:
        """The symbols of `ids`, joined as `kind` says."""
        joint = "" if self.kind == "characters" else " "
        return joint.join(self._names[identity] for identity in map(int, ids) if identity not in SPECIAL)

    def pieces(self, ids: Iterable[int]) -> list[str]:
        """The symbols; a space reads "▁"."""
        return ["▁" if (name := self._names[int(identity)]) == " " else name for identity in ids]

    def words(self, ids: Sequence[int]) -> list[int]:
        """Each word or symbol is one. A space belongs to the word after it, as in SentencePiece.

        Characters without any space among them are not one long word but units each: so the letters of
        a word to pronounce, or a Chinese sentence, can be aligned.
        """
        space = self._ids.get(" ")
        if self.kind != "characters" or space not in ids:
            return list(range(len(ids)))
        return group_words(ids, lambda identity: identity == space)

    def to_bytes(self) -> bytes:
        """JSON: format, kind, lowercase, symbols (ids from 4 on), and `until` where it is set."""
        content = {"format": FORMAT, "kind": self.kind, "lowercase": self.lowercase, "symbols": self.symbols}
        if self.until is not None:
            content["until"] = self.until
        return json.dumps(content, ensure_ascii=False, indent=0).encode("utf-8") + b"\n"


def split(kind: str, text: str, *, lowercase: bool, until: str | None = None) -> Iterable[str]:
    """The symbols of `text`, in order."""
    text = text.lower() if lowercase else text
    words = (text if until is None else text.partition(until)[0]).split()
    if kind == "labels":
        return [" ".join(words)] if words else []
    return " ".join(words) if kind == "characters" else words


def learn_list(config: TokenizerConfig, texts: Iterable[str]) -> ListTokenizer:
    """The symbols that occur at least `config.min_frequency` times, the most frequent first.

    Raises:
        UsageError: No symbol is left.
        DataError: `texts` are all blank.
    """
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(split(config.kind, text, lowercase=config.lowercase, until=config.until))
    if not counts:
        raise DataError("there is no text to learn a tokenizer from; are the files of `data.train` empty?")
    frequent = [(-count, symbol) for symbol, count in counts.items() if count >= config.min_frequency]
    if not frequent:
        raise UsageError(
            f"tokenizer: none of the {len(counts)} {config.kind} of this corpus occurs {config.min_frequency} times; "
            "lower min_frequency"
        )
    symbols = [symbol for _, symbol in sorted(frequent)]
    return ListTokenizer(config.kind, symbols, lowercase=config.lowercase, until=config.until)


def read_list(content: bytes, *, origin: str) -> ListTokenizer:
    """The tokenizer that `to_bytes` wrote.

    Raises:
        ModelError: `content` is anything else.
    """
    try:
        table = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{origin} is damaged: not JSON ({error})") from error
    if (fault := _find_fault(table)) is not None:
        raise ModelError(f"{origin} is not a tokenizer of regard, or damaged: {fault}")
    return ListTokenizer(table["kind"], table["symbols"], lowercase=table["lowercase"], until=table.get("until"))


def _find_fault(table: Any) -> str | None:
    if not isinstance(table, dict) or set(table) - {"until"} != {"format", "kind", "lowercase", "symbols"}:
        return "it must be an object of format, kind, lowercase, symbols"
    if table["format"] != FORMAT:
        return f"its format is {table['format']!r}, and this version reads {FORMAT}"
    if table["kind"] not in KINDS or not isinstance(table["lowercase"], bool):
        return f"kind must be one of {', '.join(KINDS)} and lowercase true or false"
    if "until" in table and (table["kind"] != "labels" or not table["until"] or not isinstance(table["until"], str)):
        return "until must be a text, and is for kind labels"
    symbols = table["symbols"]
    if not isinstance(symbols, list) or not all(isinstance(symbol, str) for symbol in symbols):
        return "symbols must be a list of strings"
    for place, symbol in enumerate(symbols):
        if not _is_whole(table["kind"], symbol) or any("\ud800" <= character <= "\udfff" for character in symbol):
            return f"symbol {place} is {symbol!r}, which no text can contain"
    return "a symbol stands twice" if len(set(symbols)) != len(symbols) else None


def _is_whole(kind: str, symbol: str) -> bool:
    """Whether some text has this as one symbol."""
    if kind == "characters":
        return symbol == " " or (len(symbol) == 1 and not symbol.isspace())
    return bool(symbol) and (" ".join(symbol.split()) == symbol if kind == "labels" else symbol.split() == [symbol])
