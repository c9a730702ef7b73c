"""Write Multi30k lower-cased and tokenised, the convention of most papers on it (`pip install sacremoses` first).

Usage: python recipes/multi30k_tokenised.py FOLDER OUT [LANGUAGE ...]

Every `NAME.LANGUAGE` or `NAME.LANGUAGE.gz` of FOLDER becomes `OUT/NAME.LANGUAGE`: punctuation normalised, split as
Moses splits it (no aggressive hyphens, no escapes), lower-cased. Lines stay lines. Without languages: en de.
"""

import sys
from pathlib import Path

from sacremoses import MosesPunctNormalizer, MosesTokenizer  # type: ignore[import-not-found,import-untyped,unused-ignore]

from regard.data.files import LineWriter
from regard.data.text import read_lines


def main(folder: Path, out: Path, languages: list[str]) -> None:
    """Tokenise all files of the languages."""
    out.mkdir(parents=True, exist_ok=True)
    for language in languages:
        normalise = MosesPunctNormalizer(lang=language).normalize
        split = MosesTokenizer(lang=language).tokenize
        paths = sorted({*folder.glob(f"*.{language}"), *folder.glob(f"*.{language}.gz")})
        if not paths:
            sys.exit(f"{folder}: no file ends in .{language} or .{language}.gz")
        for path in paths:
            target = out / path.name.removesuffix(".gz")
            lines = list(read_lines(path))
            with LineWriter(target) as file:
                for line in lines:
                    file.write(" ".join(split(normalise(line), escape=False)).lower())
            print(f"{target}: {len(lines):,} lines", file=sys.stderr)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:] or ["en", "de"])
