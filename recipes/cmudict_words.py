"""Write English words that CMUdict's standard split does not have, for models to say (`pip install wordfreq` first).

Usage: python recipes/cmudict_words.py FOLDER > words.txt

FOLDER holds g014b2b.train.gz and g014b2b.ref.gz. The words are those of wordfreq's large list with three letters or
more, a vowel among them, the commonest first; without those of either file, and without any that
`data.hold_out: 0.015` would hold out: a student learns of none of the words that judge it.
"""

import re
import sys
from pathlib import Path

from wordfreq import top_n_list  # type: ignore[import-not-found,import-untyped,unused-ignore]

from regard.data.corpus_split import is_held_out
from regard.data.text import read_lines

HELD_OUT = 0.015  # as in cmudict.yaml
ALL = 1_000_000  # more than there are


def main(folder: Path) -> None:
    """Print them, one a line, in capitals."""
    known = {line.split()[0] for part in ("train", "ref") for line in read_lines(folder / f"g014b2b.{part}.gz")}
    for word in top_n_list("en", ALL, wordlist="large"):
        if re.fullmatch(r"[a-z][a-z']{2,19}", word) and re.search("[aeiouy]", word):
            entry = word.upper()
            if entry not in known and not is_held_out(entry, HELD_OUT):
                print(entry)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
