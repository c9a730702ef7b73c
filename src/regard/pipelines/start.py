"""Beginning a run: a model that suits its data, perhaps with the weights and tokenizers of one that is trained."""

from pathlib import Path

from torch import nn

from regard.checkpoint.model_folder import LoadedModel, load_model
from regard.data.dataset import Vocabularies
from regard.errors import UsageError
from regard.protocol import Decodable, Labeller

_SHOWN = 3


def open_start(folder: str) -> LoadedModel:
    """The model in `folder`, which is relative to the working directory; `~` is the home.

    Raises:
        ModelError: the folder is missing, damaged or foreign.
    """
    return load_model(Path(folder).expanduser())


def start_from(model: nn.Module, start: LoadedModel) -> None:
    """Give `model` the weights of `start`.

    Raises:
        UsageError: they are another model's.
    """
    ours, theirs = model.state_dict(), start.model.state_dict()
    differences = [
        f"{name} is {_shape(ours, name)} here and {_shape(theirs, name)} there"
        for name in sorted({*ours, *theirs})
        if _shape(ours, name) != _shape(theirs, name)
    ]
    if differences:
        more = f", and {len(differences) - _SHOWN} more" if len(differences) > _SHOWN else ""
        raise UsageError(
            f"training.start_from: {start.folder} holds another model than the recipe describes: "
            f"{'; '.join(differences[:_SHOWN])}{more}; take its block `model` over"
        )
    model.load_state_dict(theirs)


def refuse_misfit(model: nn.Module, vocabularies: Vocabularies, kind: str) -> None:
    """Accept a model that generates texts for targets that are texts, and one that labels for labels and tags.

    Raises:
        UsageError: it is the other way round.
    """
    target = vocabularies.target
    if not target.ends_with_eos and not isinstance(model, Labeller):
        raise UsageError(
            f"a model of kind {kind} generates texts, but data.target_tokenizer is of kind {target.kind}; "
            "take another one of the two"
        )
    if target.ends_with_eos and not isinstance(model, Decodable):
        raise UsageError(
            f"a model of kind {kind} gives labels, but the target tokenizer is of kind {target.kind}; "
            "set data.target_tokenizer to {kind: labels}, or {kind: tags} for one a word"
        )


def _shape(state: dict[str, object], name: str) -> str:
    tensor = state.get(name)
    return "missing" if tensor is None else " x ".join(map(str, getattr(tensor, "shape", ())))
