"""The mean of several checkpoints' weights, which is often better than the last of them (Vaswani et al. 2017, 6.1)."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from regard.checkpoint.card import Card
from regard.checkpoint.checkpoints import STATE, VALUES, WEIGHTS, Checkpoints, evaluated_weights
from regard.checkpoint.manifest import Entry, read_manifest, read_verified
from regard.checkpoint.model_folder import (
    CONFIG,
    MAY_DIFFER,
    SEARCH,
    load_model,
    read_config,
    refuse_foreign,
    save_model,
)
from regard.errors import ModelError, UsageError

USUAL = 5


def choose(run: Path, number: int | None, *, best: bool = False, notify: Callable[[str], None]) -> list[Path]:
    """The `number` newest (or best) checkpoints of a run that verify; those of a run in progress, too.

    Without a number they are `USUAL`, or as many as there are.

    Raises:
        UsageError: there are fewer.
        ModelError: not one is intact.
    """
    checkpoints = Checkpoints(run, notify=notify)
    wanted = USUAL if number is None else number
    chosen = checkpoints.best(wanted) if best else checkpoints.newest(wanted)
    kind = "scored checkpoints" if best else "checkpoints"
    if number is None and not chosen:
        raise UsageError(f"{run} has no intact {kind} yet")
    if number is not None and len(chosen) < number:
        raise UsageError(
            f"{run} has {len(chosen)} intact {kind}, not {number}; "
            "ask for fewer with --number, or train with a larger training.keep_checkpoints"
        )
    return [checkpoint.folder for checkpoint in chosen]


def average(folders: Sequence[Path]) -> dict[str, Tensor]:
    """The mean of the weights in `folders` (model folders or checkpoints), accumulated in double precision.

    Whole numbers, such as counters, are those of the last folder.

    Raises:
        ModelError: a folder is damaged, or they hold different models or tokenizers.
    """
    manifests = [read_manifest(folder) for folder in folders]
    _refuse_different(folders, manifests)
    sums: dict[str, Tensor] = {}
    last: dict[str, Tensor] = {}
    for folder, entries in zip(folders, manifests, strict=True):
        last = evaluated_weights(folder, entries)
        if sums and _shapes(sums) != _shapes(last):
            raise ModelError(f"{folder / WEIGHTS}: other tensors than in {folders[0] / WEIGHTS}")
        for name, tensor in last.items():
            if name in sums:
                sums[name] += tensor
            else:
                sums[name] = tensor.double()
    return {
        name: (sums[name] / len(folders)).to(tensor.dtype) if tensor.is_floating_point() else tensor
        for name, tensor in last.items()
    }


def average_model(
    folders: Sequence[Path], output: Path, *, dtype: torch.dtype | None = None, facts: Card | None = None
) -> None:
    """Write the mean of `folders` as a model folder; all but the weights are those of the first folder.

    `dtype` stores the weights in another type; what `facts` sets replaces what the first folder's card says.

    Raises:
        UsageError: no folder is named, or there is something else than a model in the place of the output.
        ModelError: a folder is damaged, or they hold different models or tokenizers.
        UserError: the output cannot be written.
    """
    if not folders:
        raise UsageError("name at least one folder to average")
    refuse_foreign(output)
    first = load_model(folders[0])
    save_model(
        output,
        average(folders),
        config=first.config,
        vocabularies=first.vocabularies,
        search=first.search,
        card=_card(first.card, folders, dtype=dtype, facts=facts or Card()),
        dtype=dtype,
    )


def _card(card: Card, folders: Sequence[Path], *, dtype: torch.dtype | None, facts: Card) -> Card:
    """What was measured of one model is true of its copy; of a mean it is not."""
    changes = {name: getattr(facts, name) for name in facts.model_fields_set}
    notes = list(changes.pop("notes", card.notes))
    if len(folders) > 1:
        changes.setdefault("metrics", [])
        notes.append(f"Mean of the weights of {len(folders)} checkpoints: {', '.join(each.name for each in folders)}")
    if dtype is not None:
        rounded = "" if "metrics" in changes else ", rounded after they were measured"
        notes.append(f"Weights are stored as {str(dtype).removeprefix('torch.')}{rounded}.")
    return card.model_copy(update={**changes, "notes": notes})


def _shapes(tensors: dict[str, Tensor]) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in tensors.items()}


def _refuse_different(folders: Sequence[Path], manifests: Sequence[dict[str, Entry]]) -> None:
    first = _facts(folders[0], manifests[0])
    for folder, entries in zip(folders[1:], manifests[1:], strict=True):
        facts = _facts(folder, entries)
        keys = sorted({*first, *facts}, key=lambda key: (key != "kind", key))
        unlike = [key for key in keys if first.get(key) != facts.get(key)]
        if unlike:
            more = f" (and {len(unlike) - 1} more settings differ)" if len(unlike) > 1 else ""
            raise ModelError(
                f"only checkpoints of one model can be averaged: {unlike[0]} is {facts.get(unlike[0])} in {folder}, "
                f"but {first.get(unlike[0])} in {folders[0]}{more}"
            )


def _facts(folder: Path, entries: dict[str, Entry]) -> dict[str, object]:
    config, dimensions, _ = read_config(folder, read_verified(folder, CONFIG, entries))
    others = {CONFIG, WEIGHTS, SEARCH, *MAY_DIFFER, STATE, VALUES}
    tokenizers = {name: entry.sha256[:12] for name, entry in entries.items() if name not in others}
    return {**config.model_dump(mode="json"), **dimensions._asdict(), **tokenizers}
