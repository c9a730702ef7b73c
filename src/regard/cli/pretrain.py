"""Train a language model that others can begin with."""

from pathlib import Path

from regard.cli import train
from regard.cli.options import Device, Json, Quiet, RecipeFile, Settings, Threads
from regard.errors import UsageError

EXAMPLES = """
regard pretrain recipes/questions-lm.yaml data.root=questions -o runs/questions-lm
regard pretrain recipes/trec-lm.yaml data.root=questions -o runs/trec-lm
"""


def command(
    recipe: RecipeFile,
    settings: Settings = None,
    output: train.Output = None,
    fresh: train.Fresh = False,
    seeds: train.Seeds = 1,
    device: Device = "auto",
    threads: Threads = None,
    print_config: train.PrintConfig = False,
    dry_run: train.DryRun = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> int:
    """Train by RECIPE, as `regard train` does, a model with a part that another kind of model can begin with.

    `regard finetune` does the rest. A kind without such a part is refused.
    """
    _refuse_without_body(recipe, settings or [])
    return train.command(
        recipe,
        settings,
        output=output,
        fresh=fresh,
        seeds=seeds,
        device=device,
        threads=threads,
        print_config=print_config,
        dry_run=dry_run,
        quiet=quiet,
        as_json=as_json,
    )


def _refuse_without_body(path: Path, settings: list[str]) -> None:
    import torch

    from regard.protocol import Dimensions
    from regard.recipe import Recipe

    recipe = Recipe.read(path, settings)
    with torch.device("meta"):
        model = recipe.build(Dimensions(8, 8, shared=True))
    if model.body is None:
        raise UsageError(
            f"a model of kind {recipe.kind} has no part with which another kind could begin; use `regard train`, or "
            "take the kind language_model or elmo"
        )
