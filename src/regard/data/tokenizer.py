"""Text to ids and back: learn a tokenizer from a corpus, or load one from a folder."""

from collections.abc import Iterable
from pathlib import Path

from regard.data.abstract_tokenizer import SUBWORD_KINDS
from regard.data.abstract_tokenizer import Tokenizer as Tokenizer
from regard.data.abstract_tokenizer import TokenizerConfig as TokenizerConfig
from regard.data.byte_tokenizer import ByteTokenizer, read_bytes_file
from regard.data.sentencepiece_tokenizer import SentencePieceTokenizer, learn_subwords
from regard.data.simple_tokenizers import ListTokenizer, learn_list, read_list
from regard.errors import ModelError

# A file larger than this is no tokenizer (a million pieces take some 20 MB).
LARGEST_FILE = 256 * 2**20


def learn(config: TokenizerConfig, texts: Iterable[str]) -> Tokenizer:
    """Learn a tokenizer from `texts`; a pure function of its arguments.

    Raises:
        UsageError: `texts` does not suit `config`: the message says what would.
        DataError: there is no text.
    """
    if config.kind == "bytes":
        return ByteTokenizer()
    return learn_subwords(config, texts) if config.kind in SUBWORD_KINDS else learn_list(config, texts)


def find(folder: Path, name: str) -> Path | None:
    """The tokenizer's file, or None where there is none of that name."""
    for suffix in (SentencePieceTokenizer.suffix, ByteTokenizer.suffix, ListTokenizer.suffix):
        if (path := folder / f"{name}{suffix}").is_file():
            return path
    return None


def load(folder: Path, name: str) -> Tokenizer:
    """Read the tokenizer `name` of `folder`. Nothing in the file is ever executed.

    Raises:
        ModelError: There is none, or its file is damaged.
    """
    path = find(folder, name)
    if path is None:
        raise ModelError(f"{folder} has no tokenizer {name}.model or {name}.json; is it a model folder?")
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise ModelError(f"{path} is larger than {LARGEST_FILE} bytes: not a tokenizer")
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from error
    if path.suffix == SentencePieceTokenizer.suffix:
        return SentencePieceTokenizer(content, origin=str(path))
    if path.name.endswith(ByteTokenizer.suffix):
        return read_bytes_file(content, origin=str(path))
    return read_list(content, origin=str(path))
