"""Write the synthetic scenes of `recipes/scenes-*.yaml` as an ordinary set of pictures with captions.

    python recipes/scenes_data.py data/scenes

In the folder: `images/*.png`, `captions.tsv` (image, split, caption) and `objects.jsonl`, for each picture the words of
its caption that name an object, and that object's box (left, top, right, bottom in pixels). The splits are train, val,
test, and `pairs`: scenes with pairs of colour and shape that no other split has. `pairs-dev` is a seventh of what is
for training, the scenes with two further pairs: settings are chosen by training without it and asking for these pairs,
so that `pairs` is asked once, at the end. The same seed writes the same bytes.
"""

import argparse
import json
from pathlib import Path

from regard.evaluation.scenes import HELD_OUT_FOR_TUNING, Scene, draw_scene, make_scenes

SPLITS = {"train": 48_000, "val": 500, "test": 1_000, "pairs": 500}


def main() -> None:
    """Write every split."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a new folder")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    (arguments.folder / "images").mkdir(parents=True, exist_ok=True)
    with (
        (arguments.folder / "captions.tsv").open("w", encoding="utf-8") as captions,
        (arguments.folder / "objects.jsonl").open("w", encoding="utf-8") as objects,
    ):
        captions.write("image\tsplit\tcaption\n")
        for place, (split, number) in enumerate(SPLITS.items()):
            pairs = "held out" if split == "pairs" else "seen"
            for count, scene in enumerate(make_scenes(number, seed=arguments.seed + 1000 * place, pairs=pairs)):
                name = f"{split}-{count:05}.png"
                draw_scene(scene).save(arguments.folder / "images" / name)
                captions.write(f"{name}\t{_named(split, scene)}\t{scene.caption}\n")
                objects.write(json.dumps({"image": name, "mentions": _mentions(scene)}) + "\n")


def _named(split: str, scene: Scene) -> str:
    return "pairs-dev" if split == "train" and scene.pairs & HELD_OUT_FOR_TUNING else split


def _mentions(scene: Scene) -> list[dict[str, object]]:
    words = scene.caption.split()
    return [{"word": place, "text": words[place], "box": list(thing.box)} for place, thing in scene.mentions]


if __name__ == "__main__":
    main()
