"""The end of a run: which weights make the model folder, and the folder itself."""

from collections.abc import Callable
from typing import Any

from regard.checkpoint.assembly import fill
from regard.checkpoint.average import average
from regard.checkpoint.card import Card, Metric
from regard.checkpoint.checkpoints import Checkpoint, Checkpoints, evaluated_weights
from regard.checkpoint.manifest import read_manifest
from regard.checkpoint.model_folder import save_model
from regard.checkpoint.run_folder import RunFolder
from regard.data.dataset import Dataset
from regard.evaluation.flops import readable
from regard.pipelines.events import Candidate, Published
from regard.pipelines.validation import Validated, validate
from regard.protocol import Model
from regard.recipe import Recipe


def publish_model(
    recipe: Recipe,
    run: RunFolder,
    dataset: Dataset,
    model: Model,
    *,
    card: dict[str, Any],
    flops: int,
    should_stop: Callable[[], bool] = lambda: False,
) -> Published:
    """Choose the weights by validation with the recipe's own search, and write the run's model folder.

    The candidates are the best checkpoint and, with `training.average`, the mean of the last evaluated ones,
    which is taken unless it is worse. `model` ends up with the chosen weights. `flops` are those of its training.

    Raises:
        Stopped: `should_stop` said so before the folder was written.
        ModelError: no checkpoint is intact.
        UserError: the folder cannot be written.
    """
    best = run.best() or run.newest()
    assert best is not None, "a finished run has a checkpoint"
    last = _last_evaluated(run, recipe.training.average)
    _load_best(model, best)
    found: dict[str, tuple[tuple[int, ...], Validated]] = {
        "the best checkpoint": ((best.step,), _validate(recipe, dataset, model, should_stop))
    }
    chosen = "the best checkpoint"
    if len(last) > 1:
        mean = average([checkpoint.folder for checkpoint in last])
        fill(model, mean, path=last[0].folder)
        found["the average"] = (
            tuple(checkpoint.step for checkpoint in last),
            _validate(recipe, dataset, model, should_stop),
        )
        if _is_as_good(recipe, found["the average"][1], found["the best checkpoint"][1]):
            chosen = "the average"
        else:
            _load_best(model, best)
    steps, validated = found[chosen]
    save_model(
        run.model,
        model,
        config=recipe.model,
        vocabularies=dataset.vocabularies,
        search=recipe.search,
        card=_card(recipe, validated, steps=steps, facts=card, flops=flops),
    )
    candidates = tuple(Candidate(name, which, result.scores) for name, (which, result) in found.items())
    score = validated.scores[recipe.training.metric]
    return Published(run.model, recipe.training.metric, score, chosen, candidates, flops)


def _last_evaluated(run: RunFolder, number: int) -> list[Checkpoint]:
    if number < 2:
        return []
    checkpoints = Checkpoints(run.path, notify=lambda message: None)  # `run.best` has told already
    newest = checkpoints.newest(len(checkpoints.folders()))
    return [checkpoint for checkpoint in newest if checkpoint.score is not None][:number]


def _load_best(model: Model, checkpoint: Checkpoint) -> None:
    """The weights that were evaluated: those of the moving average, if the run kept one."""
    folder = checkpoint.folder
    fill(model, evaluated_weights(folder, read_manifest(folder)), path=folder)


def _validate(recipe: Recipe, dataset: Dataset, model: Model, should_stop: Callable[[], bool]) -> Validated:
    search = recipe.search.model_copy(update={"n_best": 1})
    return validate(model.eval(), dataset, metric=recipe.training.metric, search_config=search, should_stop=should_stop)


def _is_as_good(recipe: Recipe, one: Validated, other: Validated) -> bool:
    metric = recipe.training.metric
    difference = one.scores[metric] - other.scores[metric]
    return difference >= 0 if recipe.training.higher_is_better else difference <= 0


def _card(recipe: Recipe, validated: Validated, *, steps: tuple[int, ...], facts: dict[str, Any], flops: int) -> Card:
    metrics = [
        Metric(name=name, value=value, data=recipe.data.validation_name, signature=validated.signatures.get(name, ""))
        for name, value in validated.scores.items()
    ]
    which = f"step {steps[0]}" if len(steps) == 1 else f"the mean of the weights after steps {sorted(steps)}"
    note = f"The weights are those of {which}; the metrics were measured with the search settings of this folder."
    return Card(
        title=f"A model of kind {recipe.kind}",
        data=facts["data"],
        metrics=metrics,
        command=facts["command"],
        source=_side(recipe, "source"),
        target=_side(recipe, "target"),
        history=recipe.data.history or 1,
        notes=[
            note,
            *([f"Its training took {readable(flops)} floating-point operations (counted)."] if flops else []),
            f"Seed {facts['seed']}; regard {facts['versions']['regard']}, torch {facts['versions']['torch']}.",
        ],
    )


def _side(recipe: Recipe, name: str) -> str:
    """What the recipe calls a side of its corpus; nothing if it left that out."""
    value = str(getattr(recipe.data, name))
    return "" if value == name else value
