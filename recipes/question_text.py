"""English questions, and some sentences, for a language model: a line each, lower case, words and marks apart.

    python recipes/question_text.py DATA questions [EVERY]

DATA has chat-self-dialogue/, tatoeba/, text-classification/trec/, and what recipes/english_text.py reads.
questions/trec.txt gets the training questions of TREC, without their labels; questions/text.txt gets them too, with
every question of the talk, every fourth (or EVERY-th) of its other sentences, and all of news and encyclopedia.
questions/trec-few.txt gets a hundred training questions with their labels, and questions/trec-few-validation.txt five
hundred others. Needs nothing but Python.
"""

import gzip
import random
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from english_text import sentences

_APART = re.compile(r"(n't|'(?:s|m|d|re|ve|ll))(?![\w])|([^\w\s'])|((?<![\w])'|'(?![\w]))")
_STRAIGHT = str.maketrans({"\u2019": "'", "\u2018": "'", "\u201c": '"', "\u201d": '"'})
_SENTENCE = re.compile(r"(?<=[.?!])\s+")
FEW = 100


def columns(path: Path, number: int) -> Iterator[str]:
    """One column, from 0, of a gzip table."""
    with gzip.open(path, "rt", encoding="utf-8", newline="\n") as file:
        for line in file:
            yield line.rstrip("\n").split("\t")[number]


def apart(sentence: str) -> str:
    """`What's that?` becomes `what 's that ?`, as TREC has it."""
    return " ".join(_APART.sub(r" \1\2\3 ", sentence.translate(_STRAIGHT).lower()).split())


def chosen(texts: Iterator[str], every: int) -> Iterator[str]:
    """All questions and every `every`-th of the other sentences, each once."""
    seen: set[str] = set()
    for text in texts:
        for sentence in _SENTENCE.split(text):
            spaced = apart(sentence)
            if spaced in seen or not 3 <= len(spaced.split()) <= 40:
                continue
            seen.add(spaced)
            if spaced.endswith("?") or len(seen) % every == 0:
                yield spaced


def told(data: Path) -> Iterator[str]:
    """What news and an encyclopedia say: the words that questions ask for, and that talk seldom has."""
    for sentence in sentences(data):
        spaced = apart(sentence)
        if 3 <= len(spaced.split()) <= 40:
            yield spaced


def main(data: Path, folder: Path, every: int = 4) -> None:
    """Write the files."""
    with (data / "text-classification/trec/train.txt").open(encoding="utf-8") as file:
        labelled = [line.strip() for line in file]
    sources = (
        columns(data / "chat-self-dialogue/train.tsv.gz", 3),
        columns(data / "tatoeba/en-de.train.tsv.gz", 0),
        columns(data / "tatoeba/en-fr.train.tsv.gz", 0),
    )
    questions = [line.partition(" ")[2].lower() for line in labelled]
    others = list(chosen((sentence for source in sources for sentence in source), every))
    others += dict.fromkeys(told(data))
    drawn = random.Random(1).sample(labelled, FEW + 500)
    folder.mkdir(parents=True, exist_ok=True)
    for name, lines in (
        ("text", [*questions, *others]),
        ("trec", questions),
        ("trec-few", drawn[:FEW]),
        ("trec-few-validation", drawn[FEW:]),
    ):
        (folder / f"{name}.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]), *map(int, sys.argv[3:]))
