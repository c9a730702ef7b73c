"""Small corpora for the tests of stores, batches and datasets."""

import random
from collections.abc import Sequence
from pathlib import Path

from regard.data.corpus import Corpus, open_corpus
from regard.data.simple_tokenizers import ListTokenizer
from regard.data.store import Encoding, TokenStore, open_store

LETTERS = "abcdefgh"


def letter_pairs(number: int, *, longest: int = 20, seed: int = 1) -> list[tuple[str, str]]:
    """Words of one letter each, and the same backwards with up to three more."""
    generator = random.Random(seed)
    pairs = []
    for _ in range(number):
        source = generator.choices(LETTERS, k=generator.randint(1, longest - 3))
        target = source[::-1] + generator.choices(LETTERS, k=generator.randint(0, 3))
        pairs.append((" ".join(source), " ".join(target)))
    return pairs


def write_pairs(folder: Path, pairs: Sequence[tuple[str, str]], name: str = "train.tsv") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text("".join(f"{source}\t{target}\n" for source, target in pairs), encoding="utf-8")
    return path


def corpus_of(folder: Path, pairs: Sequence[tuple[str, str]]) -> Corpus:
    return open_corpus(write_pairs(folder, pairs), format="tsv")


def letters() -> ListTokenizer:
    return ListTokenizer("words", list(LETTERS))


def store_of(folder: Path, pairs: Sequence[tuple[str, str]], *, max_length: int = 100) -> TokenStore:
    return open_store([corpus_of(folder, pairs)], Encoding(letters(), letters(), max_length), folder / "cache")
