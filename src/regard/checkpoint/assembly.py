"""From a stranger's configuration and named numbers to a model: checked before anything is allocated."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from regard.config.base import Config
from regard.data.picture_reader import MAX_SIDE
from regard.errors import ModelError, UsageError
from regard.models import family, kinds
from regard.protocol import Dimensions, Model

_WIDTH_CAP = 1 << 16  # any number in a model's configuration, if there are as many weights
_FREE_WIDTH = 1024  # if there are fewer
_LENGTH_CAP = 1 << 20
_FREE_LAYERS = 64  # more layers than this must each have a tensor in the file
_COUNTS = ("layers", "blocks", "depth", "experts")
_SHOWN = 5  # differences named in an error


def parse_config(path: Path, block: Any) -> Config:
    """The model block of a `config.json` as the `Config` of its kind.

    Raises:
        ModelError: an unknown kind, or values which that kind refuses.
    """
    kind = block.get("kind") if isinstance(block, dict) else None
    if not isinstance(kind, str):
        raise ModelError(f"{path}: the model block names no kind; there are: {', '.join(kinds())}")
    try:
        module = family(kind)
    except UsageError:
        raise ModelError(f"{path}: no model of kind {kind!r}; this regard has: {', '.join(kinds())}") from None
    try:
        config: Config = module.Config.model_validate_json(json.dumps(block))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in ("model", *first["loc"]))
        raise ModelError(f"{path}: {place}: {first['msg']}") from None
    except (TypeError, ValueError) as error:
        raise ModelError(f"{path}: the model block is not understood: {error}") from None
    return config


def check_caps(path: Path, tensors: Mapping[str, Tensor], *, config: Config, dimensions: Dimensions) -> None:
    """Accept sizes that a model with the stored tensors can have; building others could take all memory.

    Raises:
        ModelError: a number is beyond its cap.
    """
    # Every layer has a tensor of its own, and every unit of a layer and every symbol a weight.
    most_layers = max(_FREE_LAYERS, len(tensors))
    most_symbols = max(_FREE_WIDTH, sum(tensor.numel() for tensor in tensors.values()))
    most_units = min(_WIDTH_CAP, most_symbols)
    for key, value in _integers("model", config.model_dump(mode="json")):
        cap = _LENGTH_CAP if "length" in key else most_units
        if any(word in key for word in _COUNTS):
            cap = most_layers
        if abs(value) > cap:
            raise ModelError(f"{path}: {key} is {value:,}, but at most {cap:,} is possible with these weights")
    for name, value in (("source", dimensions.source), ("target", dimensions.target)):
        if not 0 < value <= most_symbols:
            raise ModelError(f"{path}: dimensions.{name} is {value:,}, but only 1 to {most_symbols:,} is possible")
    for name, value in (("height", dimensions.height), ("width", dimensions.width)):
        if not 0 <= value <= MAX_SIDE:
            raise ModelError(f"{path}: dimensions.{name} is {value:,}, but only 0 to {MAX_SIDE:,} is possible")


def _integers(key: str, value: Any) -> Iterator[tuple[str, int]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _integers(f"{key}.{name}", inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _integers(key, inner)
    elif isinstance(value, int) and not isinstance(value, bool):
        yield key, value


def _compare(path: Path, expected: list[tuple[list[str], Tensor]], tensors: Mapping[str, Tensor]) -> None:
    mistakes = [_mistake(names, tensor, tensors) for names, tensor in expected]
    known = {name for names, _ in expected for name in names}
    mistakes += [f"{name}: unknown to the model" for name in tensors if name not in known]
    found = [mistake for mistake in mistakes if mistake]
    if found:
        more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        raise ModelError(f"{path}: not the weights of this configuration: {'; '.join(found[:_SHOWN])}{more}")


def _mistake(names: list[str], own: Tensor, tensors: Mapping[str, Tensor]) -> str:
    stored = [tensors[name] for name in names if name in tensors]
    if not stored:
        return f"{names[0]}: missing"
    for tensor in stored:
        if tensor.shape != own.shape:
            return f"{names[0]}: shape {list(tensor.shape)} in the file, {list(own.shape)} by the configuration"
        if tensor.dtype != own.dtype and not (tensor.is_floating_point() and own.is_floating_point()):
            return f"{names[0]}: type {tensor.dtype} in the file, {own.dtype} in the model"
    return ""


def _kind(config: Config) -> str:
    return str(config.model_dump()["kind"])


def _groups(model: nn.Module) -> list[tuple[list[str], Tensor]]:
    # The tensors of the state, each with all its names: tied weights have several.
    groups: dict[int, tuple[list[str], Tensor]] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        groups.setdefault(id(tensor), ([], tensor))[0].append(name)
    return list(groups.values())


class _Unfilled(TorchFunctionMode):
    """Leaves initial weights as they come, for they are about to be replaced.

    It saves time, the random generator rests, and memory that nobody fills costs nothing, so that a model of any size
    can be looked at. (The meta device would do the same, but makes torch import its compiler, which takes 1.5 s.)
    """

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        arguments = kwargs or {}
        if function in (Tensor.normal_, Tensor.uniform_) or getattr(function, "__module__", "") == "torch.nn.init":
            return args[0] if args else arguments["tensor"]
        return function(*args, **arguments)


def sketch(config: Config, dimensions: Dimensions) -> Model:
    """The model of `config` without its weights, whatever its size; the random generator rests.

    Raises:
        UsageError: the configuration contradicts itself or the dimensions.
    """
    with torch.random.fork_rng(devices=[]), _Unfilled():
        model: Model = family(_kind(config)).build(config, dimensions)
    return model


def build_unfilled(path: Path, tensors: Mapping[str, Tensor], *, config: Config, dimensions: Dimensions) -> Model:
    """Build the model of `config` without its weights, to be given by `fill`; the random generator rests.

    Raises:
        ModelError: no model can be built, or its tensors are not `tensors`, which the file `path` holds.
    """
    try:
        model = sketch(config, dimensions)
    except (RuntimeError, ValueError, OverflowError, MemoryError) as error:
        first = str(error).partition("\n")[0]
        raise ModelError(f"{path}: no model can be built from this configuration: {first}") from None
    _compare(path, _groups(model), tensors)
    return model


def fill(model: nn.Module, tensors: Mapping[str, Tensor], *, path: Path) -> None:
    """Give `model` the weights `tensors`, read from `path`.

    Numbers of another precision are converted to the model's. Tied tensors are stored once, under any of their names.

    Raises:
        ModelError: names or shapes differ, or two names of one tied tensor come with different numbers.
    """
    groups = _groups(model)
    _compare(path, groups, tensors)
    for names, own in groups:
        stored = [tensors[name] for name in names if name in tensors]
        if any(not torch.equal(stored[0], other) for other in stored[1:]):
            raise ModelError(f"{path}: {' and '.join(names)} are one tensor in the model, but differ in the file")
        own.detach().copy_(stored[0])  # in place: optimizers and fused kernels hold on to this very memory
