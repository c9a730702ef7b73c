"""Counted floating-point operations: what a model computes, not what a machine could have computed in the time.

Every model states its own count for a batch (`regard.protocol.Counted`); here they are put together.
"""

import math

import torch
from torch import nn

from regard.protocol import Batch, Counted, Dimensions, Labeller, Model
from regard.symbols import BOS, EOS

# Training: forward, and in the backward pass as much again for the inputs' gradient and for the weights'.
PASSES_OF_TRAINING = 3
# Of the sentences by which kinds of models are compared: so many tokens on either side, the end counted.
TYPICAL_LENGTH = 25


def forward_flops(model: nn.Module, batch: Batch) -> int:
    """Operations of one forward pass over `batch`; 0 for a model that does not count."""
    return model.flops(batch) if isinstance(model, Counted) else 0


def training_flops(model: nn.Module, batch: Batch) -> int:
    """Operations of one forward and backward pass over `batch`; 0 for a model that does not count.

    What does not learn has no backward pass. Recomputing what was not kept, the optimizer's work and the drawing of
    samples are not counted.
    """
    frozen = model.frozen_flops(batch.source) if isinstance(model, Model) else 0
    return PASSES_OF_TRAINING * (forward_flops(model, batch) - frozen) + frozen


def flops_per_token(model: nn.Module, dimensions: Dimensions, length: int = TYPICAL_LENGTH) -> float | None:
    """Operations of the forward pass a target token, where both sides have `length` tokens; None if not counted."""
    if not isinstance(model, Counted):
        return None
    if dimensions.height and isinstance(model, Labeller):
        length = 1  # a picture has one label
    return model.flops(sentence(dimensions, length)) / length


def sentence(dimensions: Dimensions, length: int) -> Batch:
    """A pair of `length` tokens on either side, its `EOS` included; or a picture and so many tokens."""
    source, target = (torch.full((1, length), min(EOS + 1, size - 1)) for size in dimensions[:2])
    source[:, -1] = target[:, -1] = EOS
    if dimensions.height:
        source = torch.zeros(1, dimensions.source, dimensions.height, dimensions.width)
    return Batch(source, torch.cat([torch.tensor([[BOS]]), target], 1))


def readable(flops: int | float) -> str:
    """`4.31e+15` becomes `4.3e15`; 0 is `0`."""
    if not flops:
        return "0"
    exponent = math.floor(math.log10(flops))
    mantissa = f"{flops / 10**exponent:.1f}"
    return f"{mantissa}e{exponent}" if mantissa != "10.0" else f"1.0e{exponent + 1}"
