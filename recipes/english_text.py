"""English sentences for a language model, a line each, their words apart as in the Penn treebank's text.

    python recipes/english_text.py DATA english/text.en

DATA has newstest/, opennmt-demo-en-de/, lm/wikitext2.*.txt.gz and chunking-conll2000/train.txt.gz; of the last only the
words are taken, not their tags. Needs nothing but Python.
"""

import gzip
import html
import re
import sys
from collections.abc import Iterator
from pathlib import Path

_APART = re.compile(r"(n't|'(?:s|m|d|re|ve|ll))(?![\w])|([^\w\s'.,-]|[.,](?!\d)|(?<![\w])'|'(?![\w]))", re.IGNORECASE)
_STRAIGHT = {"\u2019": "'", "\u2018": "'", "\u201c": '"', "\u201d": '"', "\u2013": "--", "\u2014": "--"}
_SHORT = re.compile(r"\b(?:[A-Z]|Mr|Mrs|Ms|Dr|Corp|Inc|Co|Ltd|St|vs|No|U\.S|U\.K|U\.N)\.$")


def lines(path: Path) -> Iterator[str]:
    """The lines of a gzip file."""
    with gzip.open(path, "rt", encoding="utf-8", newline="\n") as file:
        for line in file:
            yield line.strip()


def apart(sentence: str) -> str:
    """Words, and marks that are words of their own."""
    for curly, straight in _STRAIGHT.items():
        sentence = sentence.replace(curly, straight)
    words: list[str] = []
    for word in _APART.sub(r" \1\2 ", sentence).split():
        if word == "." and words and _SHORT.search(words[-1] + "."):
            words[-1] += "."
        else:
            words.append(word)
    return " ".join(words)


def sentences(data: Path) -> Iterator[str]:
    """All of them, in a fixed order."""
    for path in sorted({*data.glob("newstest/**/*.en-de.en.gz"), *data.glob("newstest/dev/*.en.gz")}):
        yield from map(apart, lines(path))
    for line in lines(data / "opennmt-demo-en-de" / "train.en.gz"):
        yield apart(html.unescape(line))
    for name in ("valid", "test"):
        for line in lines(data / "lm" / f"wikitext2.{name}.txt.gz"):
            if not line.startswith("="):
                text = re.sub(r" @([-.,])@ ", r"\1", line)
                yield from (f"{part} ." for part in text.removesuffix(" .").split(" . ") if part)
    yield from words_of_conll(data / "chunking-conll2000" / "train.txt.gz")


def words_of_conll(path: Path) -> Iterator[str]:
    """The sentences of a file of tagged words."""
    words: list[str] = []
    for line in lines(path):
        if line:
            words.append(line.split()[0])
        elif words:
            yield " ".join(words)
            words = []


def main() -> None:
    """Write the file that the command names."""
    data, out = map(Path, sys.argv[1:])
    out.parent.mkdir(parents=True, exist_ok=True)
    kept = dict.fromkeys(text for text in sentences(data) if 3 <= len(text.split()) <= 60)
    out.write_text("".join(f"{text}\n" for text in kept), encoding="utf-8", newline="\n")
    print(f"{out}: {len(kept):,} sentences, {sum(len(text.split()) for text in kept):,} words")


if __name__ == "__main__":
    main()
