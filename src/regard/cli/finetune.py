"""Train a model that begins with what a pretrained one knows."""

import json
from pathlib import Path
from typing import Annotated

import typer

from regard.cli import train
from regard.cli.options import Device, Json, Quiet, RecipeFile, Settings, Threads

EXAMPLES = """
regard finetune recipes/trec-ulmfit.yaml -m runs/trec-lm data.root=data/trec -o runs/trec-ulmfit
regard finetune recipes/trec-ulmfit.yaml -m runs/trec-lm data.root=data/trec training.finetuning.unfreeze=last
"""


def command(
    recipe: RecipeFile,
    model: Annotated[Path, typer.Option("--model", "-m", help="The pretrained model's folder, or its run's.")],
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
    """Train by RECIPE from the weights of a trained model: `regard train` with `training.start_from=MODEL`.

    A model of the same kind gives all its weights and its tokenizers; one of another kind the part that both have (the
    reader of a language model, say), and the tokenizer of what that part reads. How fast each part learns, and from
    when on, is the recipe's `training.finetuning`.
    """
    return train.command(
        recipe,
        [*(settings or []), f"training.start_from={json.dumps(str(model))}"],
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
