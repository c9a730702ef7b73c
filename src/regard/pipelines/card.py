"""What must be known of a run to repeat it: content hashes, versions, seed, machine, command."""

import platform
from pathlib import Path
from typing import Any

from regard.data.dataset import DataConfig, Vocabularies, open_split
from regard.recipe import Recipe
from regard.training.numerics import Machine
from regard.versions import version_of

PACKAGES = ("regard", "torch", "numpy", "sentencepiece", "sacrebleu")


def run_card(
    recipe: Recipe, vocabularies: Vocabularies, *, machine: Machine, device: str, command: str
) -> dict[str, Any]:
    """The facts of a run as JSON values."""
    return {
        "command": command,
        "seed": recipe.training.seed,
        "device": device,
        "world_size": 1,
        **machine._asdict(),
        "versions": versions(),
        "platform": platform.platform(),
        "data": data_fingerprints(recipe.data),
        "tokenizers": {"source": vocabularies.source.fingerprint, "target": vocabularies.target.fingerprint},
        "signatures": {},
    }


def versions() -> dict[str, str]:
    """The versions of Python and of the packages that numbers depend on."""
    return {"python": platform.python_version(), **{package: version_of(package) for package in PACKAGES}}


def data_fingerprints(config: DataConfig) -> dict[str, str]:
    """The SHA-256 of every corpus of the recipe that is trained or validated on, by its name.

    Where a share of a corpus is held out, its two sides are told apart by one hash: each follows from the other.
    """
    train, validation = open_split(config, Path())
    fingerprints = {name: corpus.fingerprint() for name, corpus in zip(config.train, train, strict=True)}
    if config.validation is not None:
        fingerprints[config.validation] = validation[0].fingerprint()
    return fingerprints
