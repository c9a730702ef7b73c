"""Beginning a run with the weights and the tokenizers of a model that is trained already."""

from pathlib import Path

from torch import nn

from regard.checkpoint.model_folder import LoadedModel, load_model
from regard.errors import UsageError

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


def _shape(state: dict[str, object], name: str) -> str:
    tensor = state.get(name)
    return "missing" if tensor is None else " x ".join(map(str, getattr(tensor, "shape", ())))
