"""Conversations in which something is told, and asked for some turns later: only who remembers can answer.

    python recipes/slot_recall.py slots

writes slots/train.jsonl and slots/validation.jsonl (conversations), and slots/test-7.tsv and slots/test-1.tsv: nothing
but the questions, with the last seven turns and with the last turn before the answer. Two things are told before one is
asked for, so it must be the right one. No conversation of the test is in the training data, though all of its words
are. Needs nothing but Python.
"""

import json
import random
import sys
from pathlib import Path

TURN = " ⏎ "
NUM_TRAIN, NUM_VALIDATION, NUM_TEST = 6000, 200, 500
_SYLLABLES = ("ba", "de", "fi", "go", "ku", "la", "me", "ni", "po", "ru")
NAMES = [(first + second).capitalize() for first in _SYLLABLES for second in _SYLLABLES if first != second][:60]
# What is said of a slot, what is answered, how it is asked for, and the answer.
SLOTS = (
    ("My name is {} .", "Hello {} .", "What is my name ?", "Your name is {} ."),
    ("I live in {} .", "I like {} .", "Where do I live ?", "You live in {} ."),
    ("My dog is called {} .", "Give {} a bone .", "What is my dog called ?", "Your dog is called {} ."),
)


def conversation(draw: random.Random) -> list[str]:
    """Two things are told and answered, then both are asked for, in any order."""
    told = [(slot, draw.choice(NAMES)) for slot in draw.sample(SLOTS, 2)]
    asked = draw.sample(told, 2)
    return [
        *(form.format(name) for slot, name in told for form in slot[:2]),
        *(form.format(name) for slot, name in asked for form in slot[2:]),
    ]


def questions(turns: list[str], history: int) -> list[str]:
    """A line of TSV for each question: the turns that are read, and the answer that is wanted."""
    return [f"{TURN.join(turns[max(0, place - history) : place])}\t{turns[place]}\n" for place in (5, 7)]


def main() -> None:
    """Write the four files."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    draw, seen = random.Random(1), set[tuple[str, ...]]()
    while len(seen) < NUM_TRAIN + NUM_VALIDATION + NUM_TEST:
        seen.add(tuple(conversation(draw)))
    told = [list(turns) for turns in sorted(seen)]
    draw.shuffle(told)
    parts = told[:NUM_TRAIN], told[NUM_TRAIN:-NUM_TEST], told[-NUM_TEST:]
    for name, part in zip(("train", "validation"), parts[:2], strict=True):
        text = "".join(json.dumps({"turns": turns}) + "\n" for turns in part)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
    for history in (1, 7):
        lines = "".join(line for turns in parts[2] for line in questions(turns, history))
        (folder / f"test-{history}.tsv").write_text(lines, encoding="utf-8")


if __name__ == "__main__":
    main()
