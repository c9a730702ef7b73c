"""How a captioner does on the synthetic scenes: exact captions, unseen pairs of colour and shape, and where it looks.

python benchmarks/scenes.py runs/scenes-soft data/scenes

The folder of scenes is what recipes/scenes_data.py wrote. `pointing` is the share of the words for size, colour and
shape whose most looked at region lies in the box of the object that they name; `chance` is the mean area of these
boxes, `control` the share with the maps of another picture. A model without attention has no line for it.
"""

import argparse
import json
from itertools import islice
from pathlib import Path

from regard import Captioner
from regard.errors import UsageError
from regard.evaluation.pointing import Looked, pointing_game
from regard.evaluation.scenes import Box

BATCH = 64


def main() -> None:
    """Both test sets of one model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("scenes", type=Path)
    parser.add_argument("--splits", nargs="+", default=["test", "pairs"])
    parser.add_argument("--most", type=int, default=None, help="so many scenes of each set")
    arguments = parser.parse_args()
    captioner = Captioner.load(arguments.model)
    captions = _captions(arguments.scenes)
    mentions = _mentions(arguments.scenes)
    for split, said in captions.items():
        if split in arguments.splits:
            _report(captioner, split, dict(islice(said.items(), arguments.most)), mentions, arguments.scenes / "images")


def _report(
    captioner: Captioner, split: str, said: dict[str, str], mentions: dict[str, list[tuple[int, Box]]], folder: Path
) -> None:
    found = captioner.caption([folder / name for name in said], batch_size=BATCH)
    exact = sum(caption.text == text for caption, text in zip(found, said.values(), strict=True))
    print(f"{split}: {exact / len(said):.2%} of {len(said)} captions are exact")
    pairs = [(caption.pixels, text) for caption, text in zip(found, said.values(), strict=True)]
    try:
        maps = [each for start in range(0, len(pairs), BATCH) for each in captioner.look(pairs[start : start + BATCH])]
    except UsageError:
        return
    looked = [Looked(each, mentions[name]) for each, name in zip(maps, said, strict=True)]
    result = pointing_game(looked, height=captioner.reader.height, width=captioner.reader.width)
    print(
        f"{split}: pointing {result.hits:.2%} of {result.num_words} words, chance {result.chance:.2%}, "
        f"control {result.control:.2%}"
    )


def _captions(folder: Path) -> dict[str, dict[str, str]]:
    """Picture to caption, by split."""
    captions: dict[str, dict[str, str]] = {}
    lines = (folder / "captions.tsv").read_text(encoding="utf-8").splitlines()[1:]
    for name, split, caption in (line.split("\t") for line in lines):
        captions.setdefault(split, {})[name] = caption
    return captions


def _mentions(folder: Path) -> dict[str, list[tuple[int, Box]]]:
    lines = (folder / "objects.jsonl").read_text(encoding="utf-8").splitlines()
    return {
        each["image"]: [(mention["word"], Box(*mention["box"])) for mention in each["mentions"]]
        for each in map(json.loads, lines)
    }


if __name__ == "__main__":
    main()
