"""A tiny model and tiny data to train it on, with dropout and a tied readout."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from regard.protocol import Batch, Model, Output
from regard.symbols import BOS, EOS, PAD
from regard.training.config import Every, TrainingConfig
from regard.training.events import Event
from regard.training.loop import train
from regard.training.schedule import Constant
from regard.training.state import TrainerState

VOCABULARY = 23


class Tiny(Model):
    """Mean of the source, plus the previous target token, through one layer with dropout."""

    def __init__(self, *, dropout: float = 0.1) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, 16)
        self.layer = nn.Linear(16, 16)
        self.norm = nn.LayerNorm(16)
        self.readout = nn.Linear(16, VOCABULARY)
        self.readout.weight = self.embedding.weight
        self.dropout = dropout

    def forward(self, batch: Batch, record: object = None) -> Output:
        source = self.embedding(batch.source).mean(1, keepdim=True)
        hidden = torch.tanh(self.layer(self.embedding(batch.decoder_input) + source))
        return Output(self.norm(functional.dropout(hidden, self.dropout, self.training)), self.readout)


def random_batch(generator: torch.Generator, *, num_rows: int = 6, first_row: int = 0) -> Batch:
    """Reversal of random symbols, with targets of different lengths."""
    source = torch.randint(4, VOCABULARY, (num_rows, 5), generator=generator)
    source[:, -1] = EOS
    target = torch.cat([torch.full((num_rows, 1), BOS), source[:, :-1].flip(1), torch.full((num_rows, 1), EOS)], 1)
    target[0, 3:] = PAD
    target[0, 2] = EOS
    return Batch(source, target, torch.arange(first_row, first_row + num_rows))


class RandomBatches:
    """A few batches an epoch, which depend on nothing but the epoch's number."""

    def __init__(self, num_batches: int = 5, *, num_rows: int = 6) -> None:
        self.num_batches = num_batches
        self.num_rows = num_rows

    def epoch(self, epoch: int) -> Sequence[Batch]:
        generator = torch.Generator().manual_seed(epoch)
        return [
            random_batch(generator, num_rows=self.num_rows, first_row=index * self.num_rows)
            for index in range(self.num_batches)
        ]


class FixedBatches:
    """The same batches in every epoch."""

    def __init__(self, *batches: Batch) -> None:
        self.batches = batches

    def epoch(self, epoch: int) -> Sequence[Batch]:
        return self.batches


class Clock:
    """A clock that moves on by `step` seconds whenever it is read."""

    def __init__(self, step: float) -> None:
        self.now = 0.0
        self.step = step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


def recipe(**settings: object) -> TrainingConfig:
    """A configuration for the tiny model."""
    defaults = {"steps": 12, "precision": "fp32", "schedule": Constant(learning_rate=1e-2)}
    return TrainingConfig(**(defaults | {"evaluate_every": Every(steps=100)} | settings))


def new_model(seed: int = 0, *, dropout: float = 0.1) -> Tiny:
    torch.manual_seed(seed)
    return Tiny(dropout=dropout)


def no_scores(model: nn.Module, step: int) -> dict[str, float]:
    return {"loss": 1.0 / (1 + step)}


def run(model: nn.Module, batches: object, config: TrainingConfig, **settings: object) -> list[Event]:
    """Train a new state to the end."""
    settings.setdefault("evaluate", no_scores)
    settings.setdefault("state", TrainerState(model, config))
    return list(train(model, batches, config, **settings))


def weights(model: nn.Module) -> dict[str, Tensor]:
    """A private copy of the weights."""
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    """Whether both hold the same bits."""
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)
