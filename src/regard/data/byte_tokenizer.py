"""Bytes of UTF-8 as symbols: nothing to learn, nothing unknown, and one vocabulary for every text and model."""

import json
from collections.abc import Iterable, Sequence

from regard.data.abstract_tokenizer import SPECIAL, UNKNOWN, Tokenizer, group_words, one_line
from regard.errors import ModelError
from regard.symbols import FIRST_BYTE, NUM_BYTES, SPACE, UNK

_FILE = json.dumps({"format": 1, "kind": "bytes"}).encode() + b"\n"


class ByteTokenizer(Tokenizer):
    """One id a byte; a space is a byte like others. Text is single-spaced first, as with characters."""

    kind = "bytes"
    suffix = ".bytes.json"

    @property
    def size(self) -> int:
        """Number of ids, special symbols included."""
        return FIRST_BYTE + NUM_BYTES

    def encode(self, text: str) -> list[int]:
        """One id a byte."""
        return [FIRST_BYTE + byte for byte in " ".join(text.split()).encode("utf-8")]

    def sample(self, text: str, seed: int, *, rate: float) -> list[int]:
        """There is only one way to cut `text`.

        Raises:
            ValueError: `rate` is not 0.
        """
        if rate:
            raise ValueError("bytes have one segmentation only: nothing to sample")
        return self.encode(text)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids`; bytes that are no UTF-8 become U+FFFD, and line breaks spaces."""
        parts = (
            UNKNOWN.encode() if identity == UNK else bytes([identity - FIRST_BYTE])
            for identity in map(int, ids)
            if identity not in SPECIAL
        )
        return one_line(b"".join(parts).decode("utf-8", errors="replace"))

    def pieces(self, ids: Iterable[int]) -> list[str]:
        """The character where a byte is one, "▁" for a space, else the byte, such as "<0xC3>"."""
        return [self._name(int(identity)) for identity in ids]

    def words(self, ids: Sequence[int]) -> list[int]:
        """A space belongs to the word after it."""
        return group_words(ids, lambda identity: identity == SPACE)

    def to_bytes(self) -> bytes:
        """JSON that says no more than the kind."""
        return _FILE

    def _name(self, identity: int) -> str:
        if identity < FIRST_BYTE:
            return "" if identity in SPECIAL else UNKNOWN
        if identity == SPACE:
            return "▁"
        byte = identity - FIRST_BYTE
        return chr(byte) if 0x21 <= byte < 0x7F else f"<0x{byte:02X}>"


def read_bytes_file(content: bytes, *, origin: str) -> ByteTokenizer:
    """The tokenizer that `to_bytes` wrote.

    Raises:
        ModelError: `content` is anything else.
    """
    if content != _FILE:
        raise ModelError(f"{origin} is not a tokenizer of bytes of this version of regard, or damaged")
    return ByteTokenizer()
