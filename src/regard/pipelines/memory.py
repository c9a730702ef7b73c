"""What a run needs of memory, told before the system ends it for taking too much."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from regard.checkpoint.assembly import sketch
from regard.data.batching import Batches, collate
from regard.errors import UserError
from regard.protocol import Batch, Dimensions, Model
from regard.recipe import Recipe
from regard.training.config import TrainingConfig
from regard.training.memory import free_memory
from regard.training.numerics import autocast, resolve_precision
from regard.training.optimizer import SGD

_FLOAT = 4  # bytes
# What backward makes, and what the allocator cannot use again, is about as much as what forward leaves. Measured on
# four models of Multi30k: beside the weights 1.9 to 2.7 times as much, the more the smaller the batch.
_SHARE_OF_FORWARD = 2


class Needs(NamedTuple):
    """Bytes: of weights, gradients, moments and averages; and about of the largest batch, forwards and backwards."""

    weights: int
    batch: int


def refuse_too_large(recipe: Recipe, dimensions: Dimensions, device: torch.device) -> None:
    """Accept a model whose weights, gradients and moments fit into what is free now; no memory is taken for that.

    Raises:
        UserError: they do not.
    """
    num_parameters = count_parameters(recipe, dimensions)
    needed, free = bytes_of_weights(recipe, num_parameters), free_memory(device)
    if free is not None and needed > free:
        raise UserError(
            f"the model does not fit into memory: its {num_parameters:,} parameters with their gradients and the "
            f"optimizer's state take {gigabytes(needed)}, and {gigabytes(free)} are free here ({device}); "
            "take a smaller model, or a machine with more memory"
        )


def count_parameters(recipe: Recipe, dimensions: Dimensions) -> int:
    """The parameters of the model, tied ones once, without the memory for them."""
    return sum(parameter.numel() for parameter in sketch(recipe.model, dimensions).parameters())


def bytes_of_weights(recipe: Recipe, num_parameters: int) -> int:
    """Weights, gradients, the optimizer's moments, the moving average."""
    copies = 2 + (recipe.training.average_decay is not None)
    return copies * _FLOAT * num_parameters + bytes_of_moments(recipe.training, num_parameters)


def bytes_of_moments(training: TrainingConfig, num_parameters: int) -> int:
    """What the optimizer keeps of parameters that all learn, at most."""
    copies = bool(training.optimizer.momentum) if isinstance(training.optimizer, SGD) else 2
    return copies * _FLOAT * num_parameters


def estimate(recipe: Recipe, model: Model, batches: Batches) -> Needs:
    """What training `model` by `recipe` needs. Of the batch it is measured what one row more leaves for backward.

    The random numbers, and what the model counts, are afterwards as they were.
    """
    device = next(model.parameters()).device
    num_parameters = sum(parameter.numel() for parameter in model.parameters())
    lengths = batches.store.source_lengths + batches.store.target_lengths
    row = int(lengths.argmax())
    one, two = (collate(batches.store, np.full(number, row, np.int64)).to(device) for number in (1, 2))
    precision = resolve_precision(recipe.training.precision, device)
    buffers = [buffer.clone() for buffer in model.buffers()]
    was_training = model.training
    with torch.random.fork_rng([device] if device.type == "cuda" else []), autocast(precision, device):
        fixed, both = _saved_bytes(model.train(), one), _saved_bytes(model, two)
    model.train(was_training)
    for buffer, before in zip(model.buffers(), buffers, strict=True):
        buffer.copy_(before)
    longest = max(int(batches.store.source_lengths[row]), int(batches.store.target_lengths[row]))
    num_rows = recipe.training.readings * min(len(lengths), max(1, batches.batch_tokens // longest))
    forward = fixed + (num_rows - 1) * (both - fixed)
    return Needs(bytes_of_weights(recipe, num_parameters), _SHARE_OF_FORWARD * forward)


def warnings(recipe: Recipe, model: Model, batches: Batches) -> list[str]:
    """What to tell where training `model`, which is in memory already, needs more than is free; else nothing."""
    device = next(model.parameters()).device
    held = _FLOAT * sum(parameter.numel() for parameter in model.parameters())
    needs, free = estimate(recipe, model, batches), free_memory(device)
    if free is None or sum(needs) - held <= free:
        return []
    return [
        f"this run may be killed for lack of memory: it needs about {gigabytes(sum(needs))} "
        f"({gigabytes(needs.weights)} for weights, gradients and moments, {gigabytes(needs.batch)} for the largest "
        "batch), and "
        f"{gigabytes(free + held)} are free ({device}); a smaller training.batch_tokens with a larger "
        "training.accumulate makes the same updates in less"
    ]


def gigabytes(number: int) -> str:
    """A number of bytes for people."""
    return f"{number / 1e9:,.1f} GB" if number >= 1e8 else f"{number / 1e6:,.0f} MB"


def _saved_bytes(model: nn.Module, batch: Batch) -> int:
    """Bytes of all that a forward pass keeps for the backward pass, each memory once, without the weights."""
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, Tensor] = {}  # held until the end, so that no two memories have one address

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model(batch)
    return sum(tensor.untyped_storage().nbytes() for address, tensor in kept.items() if address not in own)
