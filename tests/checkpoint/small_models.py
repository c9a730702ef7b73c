"""A small model with all that belongs to it, and ways to forge what is in a folder."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch

from regard.checkpoint.manifest import MANIFEST
from regard.checkpoint.model_folder import CONFIG, describe, dimensions_of, save_model
from regard.checkpoint.publish import write_folder
from regard.checkpoint.run_folder import RunFolder
from regard.checkpoint.storage import Storage
from regard.config.base import Config
from regard.data.dataset import Vocabularies
from regard.data.tokenizer import TokenizerConfig, learn
from regard.decoding.search import SearchConfig
from regard.models import family
from regard.protocol import Model


class UnflushedStorage(Storage):
    """Leaves the flushing to the system: tests that cut no power need not wait for the disk."""

    def sync(self, descriptor: int) -> None:
        pass

    def sync_folder(self, path: Path) -> None:
        pass


class Parts(NamedTuple):
    model: Model
    config: Config
    vocabularies: Vocabularies
    search: SearchConfig

    def save(self, folder: Path, **options: Any) -> Path:
        save_model(
            folder, self.model, config=self.config, vocabularies=self.vocabularies, search=self.search, **options
        )
        return folder

    def files(self) -> dict[str, bytes]:
        return describe(self.config, self.vocabularies, search=self.search)

    def publish(self, run: RunFolder, step: int, score: float | None = None) -> None:
        """Publish a checkpoint of `step` whose every weight is the step's number."""
        weights = {name: torch.full_like(tensor, float(step)) for name, tensor in self.model.state_dict().items()}
        weights = {name: weights[first] for names in tied(self.model) for first in names[:1] for name in names}
        run.publish(step, weights, {"moment": torch.ones(2)}, {"place": step}, score=score, files=self.files())


def tied(model: torch.nn.Module) -> list[list[str]]:
    groups: dict[int, list[str]] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        groups.setdefault(id(tensor), []).append(name)
    return list(groups.values())


def small(
    *,
    letters: str = "abcdef",
    kind: str = "characters",
    seed: int = 0,
    size: int = 16,
    layers: int = 1,
    shared: bool = True,
) -> Parts:
    """A tiny Transformer with tied embeddings."""
    config = TokenizerConfig(kind=kind, **({"size": 16} if kind == "bpe" else {}))
    source = learn(config, [letters])
    target = source if shared else learn(config, [letters + "xyz"])
    vocabularies = Vocabularies(source, target)
    module = family("transformer")
    config = module.Config(size=size, num_layers=layers, num_heads=2, feed_forward_size=32)
    torch.manual_seed(seed)
    model = module.build(config, dimensions_of(vocabularies))
    return Parts(model, config, vocabularies, SearchConfig(beam_size=2))


def forge(folder: Path, changes: dict[str, bytes]) -> Path:
    """Replace files of `folder`, with a manifest that agrees: what an attacker or a mistaken tool could write."""
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != MANIFEST}
    write_folder(folder, {**files, **changes}, replace=True, storage=UnflushedStorage())
    return folder


def forge_config(folder: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """Change the document in `config.json` of `folder`."""
    document = json.loads((folder / CONFIG).read_bytes())
    change(document)
    return forge(folder, {CONFIG: json.dumps(document).encode()})
