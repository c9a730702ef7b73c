"""What one vector holds, and what attention finds again: copying and reversing by length.

Two encoder-decoders (recipes/synthetic-copy.yaml), one with attention and one without it, learn to say 2 to 40 unlike
symbols once more. Printed: the share of symbols at their right places, greedy, and of whole lines, by length.

Usage: python benchmarks/length_and_attention.py [--out docs/images] [TASK ...]      about 4 minutes a task on one core
"""

import argparse
import sys
import tempfile
from pathlib import Path

from matplotlib.figure import Figure

from curves import curves
from regard.pipelines.events import Published
from regard.pipelines.fit import fit
from regard.pipelines.translate import load
from regard.recipe import Recipe
from regard.show.plot import save
from regard.training.events import Evaluated

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "recipes"))

from synthetic_data import TEST_LENGTHS, write  # noqa: E402

SYSTEMS = {"with attention": "multiplicative", "one vector": "none"}


def train(task: str, score: str, folder: Path) -> None:
    """A run of the recipe with this score."""
    recipe = Recipe.read(ROOT / "recipes" / "synthetic-copy.yaml", [f"data.root={folder}", f"model.score={score}"])
    for event in fit(recipe, folder / score):
        if isinstance(event, Evaluated | Published):
            print(task, score, event, file=sys.stderr, flush=True)


def right(folder: Path, score: str, length: int) -> tuple[float, float]:
    """The shares of right symbols and of right lines, of the test lines of this length."""
    pairs = [line.split("\t") for line in (folder / f"test-{length}.tsv").read_text().splitlines()]
    said = load(folder / score / "model").translate([source for source, _ in pairs], beam_size=1)
    hits = lines = 0
    for (_, target), output in zip(pairs, said, strict=True):
        words, expected = output.text.split(), target.split()
        hits += sum(one == other for one, other in zip(words, expected, strict=False))
        lines += words == expected
    return hits / (length * len(pairs)), lines / len(pairs)


def plot(shares: dict[str, list[float]], task: str) -> Figure:
    """Right symbols by length."""
    percent = {name: [100 * value for value in values] for name, values in shares.items()}
    figure, axes = curves(percent, list(TEST_LENGTHS), across=f"symbols to {task}", up="right symbols, %")
    axes.set_ylim(0, 112)
    return figure


def main() -> None:
    """Train, measure, draw."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images")
    parser.add_argument("tasks", nargs="*", metavar="TASK", default=["copy", "reverse"])
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for task in arguments.tasks:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write(task, folder)
            shares: dict[str, list[float]] = {}
            for system, score in SYSTEMS.items():
                train(task, score, folder)
                found = [right(folder, score, length) for length in TEST_LENGTHS]
                shares[system] = [symbols for symbols, _ in found]
                for length, (symbols, lines) in zip(TEST_LENGTHS, found, strict=True):
                    print(f"{task}, {system}, {length} symbols: {symbols:.1%} right, {lines:.1%} of lines", flush=True)
        save(plot(shares, task), arguments.out / f"{task}-by-length.svg")


if __name__ == "__main__":
    main()
