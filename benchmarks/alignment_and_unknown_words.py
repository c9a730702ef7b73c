"""Alignment and PosUnk on an invented language whose links are all known (recipes/synthetic-permutation.yaml).

Printed: the alignment error rate of the weights that the model used, of the diagonal and of IBM's model 1; and of the
words that the vocabulary lacks, how many became the right one, copied or by a dictionary learnt from training pairs.
The first short test sentence with a rare word is drawn.

Usage: python benchmarks/alignment_and_unknown_words.py [--out docs/images]      about 5 minutes on one core
"""

import argparse
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from regard.evaluation.alignment import Gold, Link, alignment_error_rate, parse_gold
from regard.pipelines.dictionary import WordLinks
from regard.pipelines.events import Published
from regard.pipelines.fit import fit
from regard.pipelines.translate import Translator, load
from regard.recipe import Recipe
from regard.show.plot import heat_map, save
from regard.show.sentence import choose, look
from regard.symbols import UNK
from regard.training.events import Evaluated

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "recipes"))

from synthetic_data import write  # noqa: E402

MODEL_1_ROUNDS = 5

Pairs = list[tuple[str, str]]


def read(path: Path) -> Pairs:
    """Source and target of every line."""
    pairs = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
    return [(source, target) for source, target in pairs]


def diagonal(pairs: Pairs) -> Iterator[frozenset[Link]]:
    """Target word j goes with the source word at the same share of its sentence."""
    for source, target in pairs:
        m, n = len(source.split()), len(target.split())
        yield frozenset((min(m - 1, j * m // n), j) for j in range(n))


def model_1(training: Pairs, test: Pairs) -> Iterator[frozenset[Link]]:
    """IBM's model 1, t(target | source) by expectation maximisation, and the best source word (Brown et al. 1993)."""
    split = [(source.split(), target.split()) for source, target in training]
    table: dict[tuple[str, str], float] = defaultdict(lambda: 1.0)
    for _ in range(MODEL_1_ROUNDS):
        counts: dict[tuple[str, str], float] = defaultdict(float)
        totals: dict[str, float] = defaultdict(float)
        for sources, targets in split:
            for target in targets:
                shares = [table[source, target] for source in sources]
                whole = sum(shares)
                for source, share in zip(sources, shares, strict=True):
                    counts[source, target] += share / whole
                    totals[source] += share / whole
        table = defaultdict(float, {pair: count / totals[pair[0]] for pair, count in counts.items()})
    for source, target in test:
        sources = source.split()
        yield frozenset(
            (max(range(len(sources)), key=lambda i: table[sources[i], word]), j)
            for j, word in enumerate(target.split())
        )


def learn_dictionary(translator: Translator, pairs: Pairs) -> dict[str, str]:
    """From what the model looks at in pairs that it was trained on."""
    links = WordLinks()
    for start in range(0, len(pairs), 64):
        some = pairs[start : start + 64]
        for (source, target), scored in zip(some, translator.score(some, batch_size=64), strict=True):
            links.add(source, target, scored.alignment)
    return links.dictionary()


def unknown_words(translator: Translator, test: Pairs, dictionary: dict[str, str]) -> dict[str, tuple[int, int]]:
    """By kind of rare word: how many `<unk>` were said, and how many of them became the right word."""
    found = {"rare": [0, 0], "name": [0, 0]}
    for (_, target), said in zip(test, translator.translate([source for source, _ in test], beam_size=1), strict=True):
        expected, words = target.split(), translator.replace_unknown(said, dictionary).text.split()
        for place, token in enumerate(said.ids):
            if token == UNK and place < len(expected):
                kind = "name" if expected[place].startswith("name") else "rare"
                found[kind][0] += 1
                found[kind][1] += words[place] == expected[place]
    return {kind: (number, right) for kind, (number, right) in found.items()}


def main() -> None:
    """Train, measure, draw."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images")
    out = parser.parse_args().out
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write("permutation", folder)
        recipe = Recipe.read(ROOT / "recipes" / "synthetic-permutation.yaml", [f"data.root={folder}"])
        for event in fit(recipe, folder / "run"):
            if isinstance(event, Evaluated | Published):
                print(event, file=sys.stderr, flush=True)
        translator, training, test = (
            load(folder / "run" / "model"),
            read(folder / "train.tsv"),
            read(folder / "test.tsv"),
        )
        golds = [parse_gold(line) for line in (folder / "gold.txt").read_text().splitlines()]
        report(translator, training, test, golds)
        source, target = min((pair for pair in test if "rare" in pair[0]), key=lambda pair: abs(len(pair[0]) - 40))
        site = choose(look(translator, translator.score([(source, target)])[0]), None)
        save(heat_map(*site.map(head=None, pieces=False)), out / "permutation.svg")


def report(translator: Translator, training: Pairs, test: Pairs, golds: list[Gold]) -> None:
    """Print every figure."""
    used = [frozenset(scored.alignment) for scored in translator.score(test)]
    for name, links in (
        ("attention", used),
        ("IBM model 1", list(model_1(training, test))),
        ("diagonal", list(diagonal(test))),
    ):
        print(f"alignment error rate, {name}: {alignment_error_rate(links, golds):.2f} %", flush=True)
    dictionary = learn_dictionary(translator, training)
    known = {word for source, _ in training for word in source.split()}
    for name, words in (("copied", {}), ("by the dictionary, else copied", dictionary)):
        for kind, (number, right) in unknown_words(translator, test, words).items():
            print(f"<unk> for a {kind} word, {name}: {right} of {number} right", flush=True)
    rare = {word for source, _ in test for word in source.split() if word.startswith("rare")}
    print(f"rare words of the test that the dictionary has met: {len(rare & known)} of {len(rare)}")


if __name__ == "__main__":
    main()
