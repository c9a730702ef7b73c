"""A training run in a process of its own, which the test kills."""

from multiprocessing.connection import Connection
from pathlib import Path

from regard.pipelines.fit import fit
from regard.recipe import Recipe


def train_and_tell(recipe: Path, settings: list[str], folder: Path, told: Connection) -> None:
    """Run `fit` to its end; the name of every event goes to `told`."""
    for event in fit(Recipe.read(recipe, settings), folder):
        told.send(type(event).__name__)
