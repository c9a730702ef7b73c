"""Several trained systems on the same test sets: what each of them scores, and what it cost."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from regard.checkpoint.run_folder import RECIPE, read_card
from regard.data.abstract_tokenizer import LABEL_KINDS
from regard.data.corpus import TestItem, read_test_set
from regard.data.dataset import open_named
from regard.data.files import expanded
from regard.errors import UsageError
from regard.evaluation.significance import Interval, bleu_interval
from regard.pipelines.card import data_fingerprints
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


class Candidate(NamedTuple):
    """A recipe that is to be trained, or a run; and the SHA-256 of each corpus that it is trained and validated on."""

    path: Path
    recipe: Recipe
    data: Mapping[str, str]


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


def candidate_recipe(path: Path, settings: Sequence[str]) -> Candidate:
    """The recipe in a file, with `settings`.

    Raises:
        UsageError: it is wrong.
        DataError: a corpus that it names is missing.
    """
    recipe = Recipe.read(path, settings)
    return Candidate(path, recipe, data_fingerprints(recipe.data))


def candidate_run(folder: Path) -> Candidate:
    """The finished run in `folder`, with the data that it was trained on; raises `UsageError` if there is none."""
    recipe, hashes = open_run(folder).recipe, read_card(folder)["data"]
    corpora = (*recipe.data.train, recipe.data.validation)  # a teacher's hash is there, too
    return Candidate(folder, recipe, {name: hashes[name] for name in corpora if name is not None})


def common_tests(candidates: Sequence[Candidate]) -> dict[str, list[TestItem]]:
    """The test sets that all recipes name, in the order of the first one. Whoever asks before training loses no time.

    Raises:
        UsageError: one learns no texts from texts, the candidates learn from other data or with other tokenizers, or
            they share no test set.
        DataError: a test set cannot be read, or is empty.
    """
    for candidate in candidates:
        data = candidate.recipe.data
        labels = data.target_tokenizer is not None and data.target_tokenizer.kind in LABEL_KINDS
        if labels or data.picture is not None or data.format == "text":
            raise UsageError(
                f"{candidate.path} does not learn texts from texts, and BLEU is of texts; `regard evaluate` measures it"
            )
    _refuse_other_data(candidates)
    # Those of the others come with the model that they start or learn from.
    trainings = [(candidate, candidate.recipe.training) for candidate in candidates]
    chosen = [candidate for candidate, training in trainings if training.start_from is None is training.teacher]
    for other in chosen[1:]:
        if _tokenizers(other.recipe) != _tokenizers(chosen[0].recipe):
            raise _other_pieces(other.path, chosen[0].path)
    first = candidates[0]
    names = [name for name in first.recipe.data.test if all(name in other.recipe.data.test for other in candidates)]
    if not names:
        raise UsageError("the recipes share no test set; name one in each, under data.test")
    return {name: read_test_set(open_named(first.recipe.data, name, Path())) for name in names}


def check_alike(runs: Sequence[Trained]) -> None:
    """Raise `UsageError` unless all runs have learnt from the same data, cut into the same pieces."""
    _refuse_other_data([candidate_run(run.folder) for run in runs])
    first = runs[0]
    for other in runs[1:]:
        if read_card(other.folder)["tokenizers"] != read_card(first.folder)["tokenizers"]:
            raise _other_pieces(other.folder, first.folder)


def _refuse_other_data(candidates: Sequence[Candidate]) -> None:
    first = candidates[0]
    for other in candidates[1:]:
        if other.data != first.data:
            raise UsageError(
                f"{other.path} learns from {', '.join(other.data)} and {first.path} from {', '.join(first.data)}, or "
                "their contents differ: a comparison needs the same data"
            )


def _tokenizers(recipe: Recipe) -> tuple[object, ...]:
    return recipe.data.tokenizer, recipe.data.source_tokenizer, recipe.data.target_tokenizer


def _other_pieces(one: Path, other: Path) -> UsageError:
    return UsageError(
        f"{one} and {other} cut text into other pieces: a comparison needs one tokenizer "
        "(the blocks data.tokenizer of their recipes)"
    )


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
