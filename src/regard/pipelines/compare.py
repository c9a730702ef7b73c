"""Several trained systems on the same test sets: what each of them scores, and what it cost."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from regard.checkpoint.run_folder import RECIPE, read_card
from regard.data.corpus import TestItem, read_test_items
from regard.data.dataset import open_named
from regard.data.files import expanded
from regard.errors import UsageError
from regard.evaluation.significance import Interval, bleu_interval
from regard.pipelines.translate import Translator, load
from regard.recipe import Recipe


class Measured(NamedTuple):
    """One line of the table.

    What an ensemble cost is the sum over its members, and what a second stage cost includes the first; their memory is
    the largest.
    """

    name: str
    num_parameters: int
    num_updates: int
    seconds: float  # of training, without validation
    flops: int  # counted operations of training; 0 where a run or a model did not count them
    peak_bytes: int  # of the process that trained
    bleu: dict[str, Interval]  # by test set
    sentences_per_second: float  # of decoding the first test set, with the recipe's search


class Trained(NamedTuple):
    """A finished run."""

    name: str
    folder: Path
    recipe: Recipe


def open_run(folder: Path) -> Trained:
    """The finished run in `folder`.

    Raises:
        UsageError: there is none, or it is not finished.
    """
    path = folder / RECIPE
    if not path.is_file():
        raise UsageError(f"{folder} is no run folder: it has no {RECIPE}; name a recipe, or the folder of a run")
    if "finished" not in read_card(folder):
        raise UsageError(f"the run in {folder} is not finished; go on with `regard train {path} -o {folder}`")
    return Trained(folder.name, folder, Recipe.read(path))


def common_tests(runs: Sequence[Trained]) -> dict[str, list[TestItem]]:
    """The test sets that all recipes name, in the order of the first one.

    Raises:
        UsageError: the runs differ in their data or their vocabularies, or share no test set.
        DataError: a test set cannot be read.
    """
    first = runs[0]
    for other in runs[1:]:
        if (theirs := read_card(other.folder)["data"]) != (ours := read_card(first.folder)["data"]):
            raise UsageError(
                f"{other.folder} was trained on {', '.join(theirs)} and {first.folder} on {', '.join(ours)}, or their "
                "contents differ: a comparison needs the same data"
            )
        if read_card(other.folder)["tokenizers"] != read_card(first.folder)["tokenizers"]:
            raise UsageError(
                f"{other.folder} and {first.folder} cut text into other pieces: a comparison needs one tokenizer "
                "(the blocks data.tokenizer of their recipes)"
            )
    names = [name for name in first.recipe.data.test if all(name in run.recipe.data.test for run in runs)]
    if not names:
        raise UsageError("the recipes share no test set; name one in each, under data.test")
    return {name: read_test_items(open_named(first.recipe.data, name, Path())) for name in names}


def measure(name: str, runs: Sequence[Trained], tests: dict[str, list[TestItem]]) -> Measured:
    """One system, or the ensemble of several, on all test sets.

    Raises:
        ModelError: a model folder is damaged.
    """
    translator = load(*(run.folder for run in runs))
    done = [facts for run in runs for facts in stages(run)]
    flops = [facts.get("flops", 0) for facts in done]  # a run of an earlier version has none
    bleu, speed = dict[str, Interval](), 0.0
    for test, items in tests.items():
        outputs, seconds = _timed(translator, items)
        speed = speed or len(items) / seconds
        bleu[test] = bleu_interval(outputs, [item.references for item in items])
    return Measured(
        name,
        sum(parameter.numel() for model in translator.loaded for parameter in model.model.parameters()),
        sum(facts["step"] for facts in done),
        sum(facts["seconds"] for facts in done),
        sum(flops) if all(flops) else 0,
        max(facts["peak_bytes"] for facts in done),
        bleu,
        speed,
    )


def stages(run: Trained) -> list[dict[str, Any]]:
    """The facts of the finished run; before them, those of the run whose model it began with, if it is to be found."""
    own, start = read_card(run.folder)["finished"], run.recipe.training.start_from
    before = None if start is None else expanded(start).parent
    if before is None or not (before / RECIPE).is_file() or "finished" not in read_card(before):
        return [own]
    return [*stages(open_run(before)), own]


def _timed(translator: Translator, items: Sequence[TestItem]) -> tuple[list[str], float]:
    began = time.perf_counter()
    outputs = [translation.text for translation in translator.translate([item.source for item in items])]
    return outputs, time.perf_counter() - began
