"""Write invented corpora of which everything is known: what an output must be, and which words belong together.

Usage: python recipes/synthetic_data.py TASK FOLDER, where TASK is copy, reverse or permutation

copy, reverse: a line of different symbols (so that "what came after it?" has one answer), once more, or backwards.
  Training lines have 2 to 40 symbols, those of test-LENGTH.tsv exactly so many.
permutation: phrases of one, two or three words, whose head decides how many and in which order they are said; the
  first word of a sentence goes to its end; some words become two, some vanish. gold.txt has the links of test.tsv,
  `i-j` from 0. A tenth of the words are rare: `rare12` is called `selten12`, a name is called what it is called.
"""

import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

SYMBOLS = [f"{letter}{number}" for letter in "abcdefgh" for number in range(8)]
TRAINED_LENGTHS = range(2, 41)
TEST_LENGTHS = range(5, 41, 5)

# A head opens a phrase of so many words, said in this order.
ORDERS = {"one": (0,), "two": (1, 0), "three": (1, 2, 0)}
HEADS, FOLLOWERS = 20, 60
RARE, NAMES = 500, 20_000
SHARE_OF_RARE = 0.1

Link = tuple[int, int]
Pair = tuple[list[str], list[str]]


def sequences(random_numbers: random.Random, length: int, *, backwards: bool) -> Pair:
    """Different symbols, and the same once more."""
    symbols = random_numbers.sample(SYMBOLS, length)
    return symbols, symbols[::-1] if backwards else symbols


def permutation(random_numbers: random.Random) -> tuple[list[str], list[str], list[Link]]:
    """A sentence of two to five phrases, its translation, and the links between their words."""
    source: list[str] = []
    order: list[int] = []
    for _ in range(random_numbers.randint(2, 5)):
        kind = random_numbers.choice(list(ORDERS))
        start = len(source)
        source.append(f"{kind}{random_numbers.randrange(HEADS)}")
        source.extend(_follower(random_numbers) for _ in ORDERS[kind][1:])
        order.extend(start + place for place in ORDERS[kind])
    order.remove(0)
    order.append(0)
    target: list[str] = []
    links: list[Link] = []
    for place in order:
        for word in translate(source[place]):
            links.append((place, len(target)))
            target.append(word)
    return source, target, links


def _follower(random_numbers: random.Random) -> str:
    if random_numbers.random() > SHARE_OF_RARE:
        return f"w{random_numbers.randrange(FOLLOWERS)}"
    if random_numbers.random() < 0.5:
        return f"rare{random_numbers.randrange(RARE)}"
    return f"name{random_numbers.randrange(NAMES)}"


def translate(word: str) -> list[str]:
    """What a word becomes: one word, two, or none."""
    if word.startswith("name"):
        return [word]
    if word.startswith("rare"):
        return ["selten" + word.removeprefix("rare")]
    if word.startswith("w"):
        number = int(word[1:])
        return [] if number % 10 == 0 else [f"u{number}", f"v{number}"] if number % 10 == 1 else [f"u{number}"]
    return [word.upper()]


def write_sequences(folder: Path, *, backwards: bool) -> None:
    """The training lines have all lengths alike often."""

    def lines(seed: int, lengths: list[int]) -> Iterator[str]:
        random_numbers = random.Random(seed)
        for length in lengths:
            yield _line(*sequences(random_numbers, length, backwards=backwards))

    _write(folder / "train.tsv", lines(1, [*TRAINED_LENGTHS] * 300))
    _write(folder / "val.tsv", lines(2, [*TRAINED_LENGTHS] * 5))
    for length in TEST_LENGTHS:
        _write(folder / f"test-{length}.tsv", lines(length, [length] * 100))


def write_permutation(folder: Path) -> None:
    """Three corpora that share no sentence but by chance, and the links of the last."""
    for name, seed, number in (("train", 1, 10_000), ("val", 2, 300), ("test", 3, 500)):
        random_numbers = random.Random(seed)
        made = [permutation(random_numbers) for _ in range(number)]
        _write(folder / f"{name}.tsv", (_line(source, target) for source, target, _ in made))
    _write(folder / "gold.txt", (" ".join(f"{i}-{j}" for i, j in sorted(links)) for _, _, links in made))


def _line(source: list[str], target: list[str]) -> str:
    return f"{' '.join(source)}\t{' '.join(target)}"


def _write(path: Path, lines: Iterator[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")


TASKS: dict[str, Callable[[Path], None]] = {
    "copy": lambda folder: write_sequences(folder, backwards=False),
    "reverse": lambda folder: write_sequences(folder, backwards=True),
    "permutation": write_permutation,
}


def write(task: str, folder: Path) -> None:
    """Write the corpora of `task` into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    TASKS[task](folder)


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in TASKS:
        sys.exit(f"usage: python {sys.argv[0]} {'|'.join(TASKS)} FOLDER")
    write(sys.argv[1], Path(sys.argv[2]))
