"""Train a language model that others can begin with."""

from typing import TYPE_CHECKING

from regard.cli.options import RecipeFile, Settings
from regard.cli.train import then_train
from regard.errors import UsageError

if TYPE_CHECKING:
    from regard.recipe import Recipe

EXAMPLES = """
regard pretrain recipes/questions-lm.yaml data.root=questions -o runs/questions-lm
regard pretrain recipes/trec-lm.yaml data.root=questions -o runs/trec-lm
"""


@then_train
def command(recipe: RecipeFile, settings: Settings = None) -> "Recipe":
    """Train by RECIPE, as `regard train` does, a model with a part that another kind of model can begin with.

    `regard finetune` does the rest. A kind without such a part is refused.
    """
    from regard.recipe import Recipe

    parsed = Recipe.read(recipe, settings or [])
    _refuse_without_body(parsed)
    return parsed


def _refuse_without_body(recipe: "Recipe") -> None:
    import torch

    from regard.protocol import Dimensions

    with torch.device("meta"):
        model = recipe.build(Dimensions(8, 8, shared=True))
    if model.body is None:
        raise UsageError(
            f"a model of kind {recipe.kind} has no part with which another kind could begin; use `regard train`, or "
            "take the kind language_model or elmo"
        )
