"""Random models in float64, in which no bug can hide behind a zero bias, a unit gain or rounding."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from regard.models import transformer
from regard.protocol import Batch, Dimensions, Model
from regard.symbols import BOS, EOS, PAD

SOURCE, TARGET = 13, 11  # vocabularies of different sizes, so that nobody mixes them up

UNSHARED = Dimensions(SOURCE, TARGET)

Make = Callable[..., Model]


@contextmanager
def float64() -> Iterator[None]:
    """Build in float64: also what a model computes for itself, such as a table of sines."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def randomise(model: torch.nn.Module, seed: int = 5) -> None:
    """Every parameter from a normal distribution: gains around 1, all else around 0."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        is_gain = parameter.ndim == 1 and name.endswith("weight")
        noise = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
        parameter.data.copy_(is_gain + noise * (0.3 if parameter.ndim == 1 else 0.5))


def transformer_model(*, dimensions: Dimensions = UNSHARED, **settings: object) -> Model:
    """A tiny Transformer, all parameters random, in evaluation; its dropout is high, should it ever be used.

    It has the paper's post-norm unless `settings` say otherwise.
    """
    sizes = {"size": 8, "num_heads": 2, "encoder_layers": 2, "decoder_layers": 3, "feed_forward_size": 12}
    config = transformer.Config(**(sizes | {"norm": "post", "dropout": 0.5} | settings))
    with float64():
        model = transformer.build(config, dimensions)
    randomise(model)
    return model.eval()


def vectors(weight: Tensor, tokens: Tensor) -> Tensor:
    """The rows of `tokens`, of unit variance where those of `weight` have 1 / size."""
    return weight.size(1) ** 0.5 * weight[tokens]


def example(*, seed: int = 1, source_lengths: tuple[int, ...] = (6, 3, 5), target_lengths=(4, 6, 2)) -> Batch:
    """Ragged sentences, padded together; lengths count EOS."""
    generator = torch.Generator().manual_seed(seed)

    def padded(lengths, vocabulary, start):
        rows = torch.full((len(lengths), max(lengths) + len(start)), PAD)
        for row, length in enumerate(lengths):
            words = torch.randint(EOS + 1, vocabulary, (length - 1,), generator=generator)
            rows[row, : length + len(start)] = torch.cat([torch.tensor(start).long(), words, torch.tensor([EOS])])
        return rows

    return Batch(padded(source_lengths, SOURCE, []), padded(target_lengths, TARGET, [BOS]))
