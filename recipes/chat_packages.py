"""Conversations out of two packages, as JSON lines that every recipe of a chat reads (`format: conversation`).

    pip install chitchat-dataset
    python recipes/chat_packages.py chitchat chitchat [split-ids.json]
    pip install chatterbot-corpus
    python recipes/chat_packages.py chatterbot chatterbot/english.jsonl

Chit-Chat becomes chitchat/train.jsonl; with a JSON object of lists of conversation numbers, such as {"dev": [...],
"test": [...]}, those go to files of these names instead. A turn is all that one person says before the other does.
ChatterBot's corpus is questions, each with one or more answers: every pair is a conversation of two turns.
"""

import json
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from ruamel.yaml import YAML


def package(name: str) -> Path:
    """The folder of an installed package, which is not imported."""
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        sys.exit(f"{name} is not installed; run: pip install {name.replace('_', '-')}")
    return Path(spec.submodule_search_locations[0])


def chitchat() -> Iterator[tuple[str, list[str]]]:
    """Number and turns of every conversation with two turns or more."""
    conversations = json.loads((package("chitchat_dataset") / "dataset.json").read_text(encoding="utf-8"))
    for number, conversation in conversations.items():
        turns = [" ".join(message["text"] for message in block).split() for block in conversation["messages"]]
        said = [" ".join(words) for words in turns if words]
        if len(said) > 1:
            yield number, said


def chatterbot(language: str = "english") -> Iterator[list[str]]:
    """A question and one answer."""
    yaml = YAML(typ="safe")
    for path in sorted((package("chatterbot_corpus") / "data" / language).glob("*.yml")):
        for question, *answers in yaml.load(path.read_text(encoding="utf-8")).get("conversations", []):
            yield from ([" ".join(str(question).split()), " ".join(str(answer).split())] for answer in answers)


def write(path: Path, conversations: list[list[str]]) -> None:
    """JSON lines, and a word about them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps({"turns": turns}, ensure_ascii=False) + "\n" for turns in conversations)
    path.write_text("".join(lines), encoding="utf-8", newline="\n")
    print(f"{path}: {len(conversations):,} conversations, {sum(map(len, conversations)):,} turns")


def main() -> None:
    """`chitchat FOLDER [SPLIT]` or `chatterbot FILE`."""
    match sys.argv[1:]:
        case ["chitchat", folder, *split]:
            parts: dict[str, list[str]] = json.loads(Path(split[0]).read_text()) if split else {}
            place = {number: name for name, numbers in parts.items() for number in numbers}
            found: dict[str, list[list[str]]] = {"train": [], **{name: [] for name in parts}}
            for number, turns in chitchat():
                found[place.get(number, "train")].append(turns)
            for name, conversations in found.items():
                write(Path(folder) / f"{name}.jsonl", conversations)
        case ["chatterbot", file]:
            write(Path(file), list(chatterbot()))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
