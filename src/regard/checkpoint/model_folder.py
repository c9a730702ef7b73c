"""The model folder: configuration, weights, tokenizers, search settings, a card. Copy it, serve it, open it safely.

Opening never runs code: the weights are numbers, the kind of model is looked up among regard's own, and nothing is
allocated before the names and shapes in the file are those of the model which the configuration describes.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from regard.checkpoint import shipped
from regard.checkpoint.assembly import build_unfilled, check_caps, fill, parse_config
from regard.checkpoint.card import Card
from regard.checkpoint.checkpoints import CHECKPOINTS, MODEL, STATE, VALUES, WEIGHTS, Checkpoints, evaluated_weights
from regard.checkpoint.manifest import read_manifest, read_verified, refuse_unlisted
from regard.checkpoint.publish import make_folders, write_folder
from regard.checkpoint.shipped import CONFIG as CONFIG
from regard.checkpoint.storage import Storage
from regard.checkpoint.weights import Tensors, refuse_executable, refuse_non_finite
from regard.config.base import Config
from regard.data.dataset import Vocabularies
from regard.decoding.search import SearchConfig
from regard.errors import ModelError, UsageError
from regard.protocol import Dimensions, Model
from regard.versions import version_of

SEARCH = "search.json"
README = "README.md"
FORMAT = 1
_WARN = logging.getLogger("regard").warning
# What a user may change in a model folder, or add to it: nothing here is ever read.
MAY_DIFFER = (README, "LICENSE", "LICENSE.txt", "LICENSE.md", "NOTICE", shipped.EXAMPLES)


class _ConfigFile(Config):
    format: int
    versions: dict[str, str]
    model: dict[str, Any]
    dimensions: dict[str, int | bool]
    card: Card


class LoadedModel(NamedTuple):
    """A model ready for use (evaluation mode), and all that travels with it."""

    model: Model
    vocabularies: Vocabularies
    search: SearchConfig
    config: Config
    card: Card
    folder: Path


def dimensions_of(vocabularies: Vocabularies) -> Dimensions:
    """What `build` must know of the vocabularies."""
    return Dimensions(*vocabularies.dimensions)


def describe(
    config: Config, vocabularies: Vocabularies, *, search: SearchConfig, card: Card | None = None
) -> dict[str, bytes]:
    """Every file of a model folder but the weights and the card's page: name to content."""
    dimensions = dimensions_of(vocabularies)
    document = _ConfigFile(
        format=FORMAT,
        versions={"regard": version_of("regard"), "torch": str(torch.__version__)},
        model=config.model_dump(mode="json"),
        dimensions=dimensions._asdict(),
        card=card or Card(),
    )
    return {
        CONFIG: (document.model_dump_json(indent=1) + "\n").encode(),
        SEARCH: (search.model_dump_json(indent=1) + "\n").encode(),
        **vocabularies.files,
    }


def save_model(
    folder: Path,
    model: nn.Module | Mapping[str, Tensor],
    *,
    config: Config,
    vocabularies: Vocabularies,
    search: SearchConfig,
    card: Card | None = None,
    dtype: torch.dtype | None = None,
    storage: Storage | None = None,
) -> None:
    """Publish a model folder; one that is there already makes way. `model` may be a module or its state.

    `dtype` stores floating point numbers in another type (`torch.bfloat16` halves the file; loading widens again).

    Raises:
        UserError: the folder cannot be written.
        UsageError: what stands there is no model folder.
        ModelError: a weight is not finite.
    """
    state = model.state_dict() if isinstance(model, nn.Module) else model
    refuse_non_finite(folder / WEIGHTS, state)
    refuse_foreign(folder)
    card = card or Card()
    weights = Tensors(state, dtype=dtype)
    kind = str(config.model_dump()["kind"])
    files = describe(config, vocabularies, search=search, card=card)
    page = card.page(kind=kind, num_parameters=weights.num_parameters, usage=_usage(vocabularies)).encode()
    make_folders(folder.parent, storage=storage)
    write_folder(folder, {**files, WEIGHTS: weights, README: page}, replace=True, storage=storage)


def refuse_foreign(folder: Path) -> None:
    """Accept a place for a model folder: one that is free, or where there is a model already.

    Raises:
        UsageError: something else is there.
    """
    if folder.exists() and not (folder / CONFIG).is_file():
        raise UsageError(f"{folder}: exists and is not a model folder, so it is not replaced; name another")


def _usage(vocabularies: Vocabularies) -> str:
    """A command that uses such a model."""
    source = "picture.png" if vocabularies.reads_pictures else "< input.txt"
    if not vocabularies.target.ends_with_eos:
        return f"regard classify -m FOLDER {source}"
    return f"regard {'caption' if vocabularies.reads_pictures else 'translate'} -m FOLDER {source}"


def first_of(models: Sequence[LoadedModel]) -> LoadedModel:
    """The first of models that are to work together as an ensemble.

    Raises:
        ValueError: there is none.
        UsageError: their vocabularies differ.
    """
    if not models:
        raise ValueError("there must be at least one model")
    first, *others = models
    for other in others:
        if other.vocabularies != first.vocabularies:
            raise UsageError(f"{other.folder} and {first.folder} have different vocabularies: no ensemble of them")
    return first


def load_model(folder: str | Path, *, device: str | torch.device = "cpu") -> LoadedModel:
    """Open a model folder, or the best model of a run folder, after checking every byte that is used.

    Raises:
        ModelError: the folder is missing, damaged, foreign, or holds what could run code.
    """
    folder = find_model(Path(folder))
    _refuse_executables(folder)
    entries = read_manifest(folder)
    refuse_unlisted(folder, entries, ignore=MAY_DIFFER)
    needed = {CONFIG, SEARCH, *entries} - {WEIGHTS, STATE, VALUES, *MAY_DIFFER}
    contents = {name: read_verified(folder, name, entries) for name in sorted(needed)}
    config, dimensions, card = read_config(folder, contents[CONFIG])
    tensors = evaluated_weights(folder, entries)
    check_caps(folder / CONFIG, tensors, config=config, dimensions=dimensions)
    model = build_unfilled(folder / WEIGHTS, tensors, config=config, dimensions=dimensions)
    vocabularies = _read_vocabularies(folder, dimensions)
    search = _read_search(folder, contents[SEARCH])
    fill(model, tensors, path=folder / WEIGHTS)
    return LoadedModel(model.eval().to(device), vocabularies, search, config, card, folder)


def find_model(path: Path) -> Path:
    """The model folder which `path` means: itself, or of a run folder its `model`, or its best checkpoint.

    Where nothing is called so, it may be the name of a model that comes with the package.

    Raises:
        ModelError: there is none.
    """
    path = shipped.resolve(path)
    if not path.exists():
        known = f"; regard itself brings {', '.join(shipped.names())}" if len(path.parts) == 1 else ""
        raise ModelError(f"{path}: no such model folder{known}")
    if not path.is_dir():
        refuse_executable(path)
        raise ModelError(f"{path}: a file, but a model is a folder with {CONFIG} and {WEIGHTS}")
    if not (path / CHECKPOINTS).is_dir():
        return path
    if (path / MODEL).is_dir():
        return path / MODEL
    checkpoints = Checkpoints(path, notify=_WARN)
    chosen = checkpoints.best() or checkpoints.newest()
    if not chosen:
        raise ModelError(f"{path}: this run has no checkpoint yet")
    return chosen[0].folder


def _refuse_executables(folder: Path) -> None:
    for path in sorted(folder.iterdir()):
        if path.is_file() and not path.name.startswith("."):
            refuse_executable(path)


def read_config(folder: Path, content: bytes) -> tuple[Config, Dimensions, Card]:
    """What the `content` of `config.json` says: the model's configuration, the sizes of its vocabularies, its card.

    Raises:
        ModelError: it is damaged, of a later version, or describes no model of this regard.
    """
    path = folder / CONFIG
    try:
        document = _ConfigFile.model_validate_json(content)
        dimensions = Dimensions(**document.dimensions)  # type: ignore[arg-type]
    except (ValidationError, TypeError) as error:
        raise ModelError(f"{path}: not a configuration that this regard understands: {_first(error)}") from None
    if document.format != FORMAT:
        raise ModelError(f"{path}: format {document.format}, but this version of regard reads format {FORMAT}")
    return parse_config(path, document.model), dimensions, document.card


def _read_search(folder: Path, content: bytes) -> SearchConfig:
    try:
        return SearchConfig.model_validate_json(content)
    except ValidationError as error:
        raise ModelError(f"{folder / SEARCH}: {_first(error)}") from None


def _first(error: ValidationError | TypeError) -> str:
    if isinstance(error, TypeError):
        return str(error)
    first = error.errors()[0]
    return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"


def _read_vocabularies(folder: Path, dimensions: Dimensions) -> Vocabularies:
    vocabularies = Vocabularies.load(folder)
    if dimensions_of(vocabularies) != dimensions:
        raise ModelError(
            f"{folder}: the tokenizers have {dimensions_of(vocabularies)}, but {CONFIG} says {dimensions}: "
            "they belong to different models"
        )
    return vocabularies
