"""The batches of a run: of like lengths, but for models that would read the length off the batch."""

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from regard.data.batching import Batches
from regard.data.dataset import Dataset
from regard.training.config import TrainingConfig


def training_batches(training: TrainingConfig, dataset: Dataset, model: nn.Module, *, batch_tokens: int) -> Batches:
    """What `model` learns from, epoch after epoch."""
    by_length = not learns_batch_statistics(model)
    return Batches(dataset.train, batch_tokens=batch_tokens, seed=training.seed, by_length=by_length)


def learns_batch_statistics(model: nn.Module) -> bool:
    """Whether batch normalisation that is trained sees a batch as a whole.

    In a batch of captions of one length such a model learns the length from the mean of the pictures, and so whether
    one thing is to be named or two. A single picture has no such mean: it then says captions of the wrong length.
    """
    layers = (module for module in model.modules() if isinstance(module, _BatchNorm))
    return any(parameter.requires_grad for layer in layers for parameter in layer.parameters())
