"""Whole models, on a processor and on a GPU: the same seed gives the same bits, and so does a run that was resumed."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from tiny_training import no_scores, recipe, same, weights
from torch import Tensor

from regard.models import convs2s, seq2seq, transformer
from regard.protocol import Batch, Dimensions, Model
from regard.symbols import BOS, PAD
from regard.training.events import Step
from regard.training.loop import train
from regard.training.numerics import set_up_machine
from regard.training.state import TrainerState

NUM_STEPS, HALF_WAY, VOCABULARY = 12, 5, 90
DIMENSIONS = Dimensions(VOCABULARY, VOCABULARY, shared=True)
_BLOCKS = [convs2s.Blocks(layers=2, size=32, width=3)]
MODELS: dict[str, Callable[[], Model]] = {
    "transformer": lambda: transformer.build(
        transformer.Config(size=32, num_layers=2, num_heads=4, feed_forward_size=64, dropout=0.2), DIMENSIONS
    ),
    "lstm": lambda: seq2seq.build(
        seq2seq.Config(score="additive", embedding_size=32, encoder_size=32, decoder_size=32), DIMENSIONS
    ),
    "convs2s": lambda: convs2s.build(
        convs2s.Config(embedding_size=32, encoder=_BLOCKS, decoder=_BLOCKS, max_length=16, dropout=0.2), DIMENSIONS
    ),
}
GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
# A processor without bfloat16 compiles a kernel for every new shape; what it does with it is asked in
# test_resume_exactly.py.
MACHINES = [
    ("cpu", "fp32"),
    pytest.param("cuda", "fp32", marks=GPU),
    pytest.param("cuda", "bf16", marks=GPU),
]


class Ragged:
    """Batches of other shapes every time, with padding on both sides."""

    def epoch(self, epoch: int) -> Sequence[Batch]:
        generator = torch.Generator().manual_seed(epoch)
        return [self._batch(generator) for _ in range(7)]

    def _batch(self, generator: torch.Generator) -> Batch:
        rows, *lengths = (int(torch.randint(4, 14, (), generator=generator)) for _ in range(3))
        source, target = (self._side(rows, length, generator) for length in lengths)
        target[:, 0] = BOS
        return Batch(source, target)

    def _side(self, rows: int, length: int, generator: torch.Generator) -> Tensor:
        tokens = torch.randint(4, VOCABULARY, (rows, length), generator=generator)
        ends = torch.randint(3, length + 1, (rows, 1), generator=generator)
        return tokens.masked_fill(torch.arange(length) >= ends, PAD)


class Saved:
    """What a run writes to go on from."""

    def __init__(self, model: Model, state: TrainerState) -> None:
        self.weights = weights(model)
        self.tensors = {name: tensor.clone() for name, tensor in state.tensors().items()}
        self.values = dict(state.values())


def run(name: str, device: str, config: Any, *, resume: Saved | None = None) -> tuple[list[Step], list[Saved]]:
    torch.manual_seed(1 if resume is None else 999)
    model = MODELS[name]().to(device)
    state = TrainerState(model, config)
    if resume is not None:
        model.load_state_dict(resume.weights)
        state.load(resume.tensors, resume.values)
    steps, saved = [], []
    for event in train(model, Ragged(), config, evaluate=no_scores, state=state):
        if isinstance(event, Step):
            steps.append(event._replace(seconds=0.0))
            saved.append(Saved(model, state))
    return steps, saved


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(("device", "precision"), MACHINES)
def test_a_model_trains_in_the_same_bits_again_and_resumed(device, name, precision):
    set_up_machine(threads=1)
    config = recipe(steps=NUM_STEPS, precision=precision, average_decay=0.9)
    steps, saved = run(name, device, config)
    again, saved_again = run(name, device, config)
    rest, saved_later = run(name, device, config, resume=saved[HALF_WAY - 1])
    assert len(steps) == NUM_STEPS
    assert again == steps
    assert steps[:HALF_WAY] + rest == steps
    for other in (saved_again[-1], saved_later[-1]):
        assert same(other.weights, saved[-1].weights)
        assert same(other.tensors, saved[-1].tensors)
    assert not same(saved[-1].weights, saved[-2].weights)
