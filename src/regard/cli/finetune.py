"""Train a model that begins with what a pretrained one knows."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from regard.cli.options import RecipeFile, Settings
from regard.cli.train import then_train

if TYPE_CHECKING:
    from regard.recipe import Recipe

EXAMPLES = """
regard finetune recipes/trec-ulmfit.yaml -m runs/trec-lm data.root=data/trec -o runs/trec-ulmfit
regard finetune recipes/trec-ulmfit.yaml -m runs/trec-lm data.root=data/trec training.finetuning.unfreeze=last
"""


@then_train
def command(
    recipe: RecipeFile,
    model: Annotated[Path, typer.Option("--model", "-m", help="The pretrained model's folder, or its run's.")],
    settings: Settings = None,
) -> "Recipe":
    """Train by RECIPE from the weights of a trained model: `regard train` with `training.start_from=MODEL`.

    A model of the same kind gives all its weights and its tokenizers; one of another kind the part that both have (the
    reader of a language model, say), and the tokenizer of what that part reads. How fast each part learns, and from
    when on, is the recipe's `training.finetuning`.
    """
    from regard.recipe import Recipe

    return Recipe.read(recipe, [*(settings or []), f"training.start_from={json.dumps(str(model))}"])
