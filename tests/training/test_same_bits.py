"""Two runs of one seed give the same bits, with real models, both precisions, and one thread or two."""

import pytest
import torch
from tiny_training import no_scores, recipe, same, weights

from regard.models import bytenet, convs2s, seq2seq, transformer
from regard.protocol import Batch, Dimensions
from regard.symbols import BOS, EOS
from regard.training.loop import train
from regard.training.numerics import set_up_machine
from regard.training.state import TrainerState

VOCABULARY = 500
BLOCKS = [convs2s.Blocks(layers=1, size=64, width=3)]
MODELS = {
    "transformer": lambda: transformer.build(
        transformer.Config(size=64, num_layers=1, feed_forward_size=128), Dimensions(VOCABULARY, VOCABULARY, True)
    ),
    "lstm": lambda: seq2seq.build(
        seq2seq.Config(embedding_size=32, encoder_size=64, decoder_size=64, score="additive"),
        Dimensions(VOCABULARY, VOCABULARY, True),
    ),
    "bytenet": lambda: bytenet.build(
        bytenet.Config(size=32, max_dilation=2, encoder_sets=1, decoder_sets=1),
        Dimensions(VOCABULARY, VOCABULARY, True),
    ),
    "convs2s": lambda: convs2s.build(
        convs2s.Config(embedding_size=32, encoder=BLOCKS, decoder=BLOCKS), Dimensions(VOCABULARY, VOCABULARY, True)
    ),
}


class Sentences:
    """Large enough that the products are shared out to all threads."""

    def epoch(self, epoch: int) -> list[Batch]:
        generator = torch.Generator().manual_seed(epoch)
        batches = []
        for length in (17, 9, 23):
            source = torch.randint(4, VOCABULARY, (40, length), generator=generator)
            source[:, -1] = EOS
            target = torch.cat([torch.full((40, 1), BOS), source.flip(1)[:, 1:], torch.full((40, 1), EOS)], 1)
            batches.append(Batch(source, target))
        return batches


@pytest.mark.parametrize(
    ("name", "precision", "threads"),
    [
        ("transformer", "fp32", 1),
        ("transformer", "bf16", 2),
        ("lstm", "fp32", 2),
        ("lstm", "bf16", 1),
        ("bytenet", "bf16", 2),
        ("convs2s", "fp32", 2),
        ("convs2s", "bf16", 1),
    ],
)
def test_training_repeats_bit_for_bit(name, precision, threads):
    set_up_machine(threads=threads)
    config = recipe(steps=2, precision=precision, threads=threads)
    results, moved = [], []
    for _ in range(2):
        # Other addresses than before: what comes out must not depend on where tensors happen to lie.
        moved.append(torch.empty(len(moved) * 1000 + 12345))
        torch.manual_seed(config.seed)
        model = MODELS[name]()
        state = TrainerState(model, config)
        steps = [event._replace(seconds=0) for event in _steps(model, config, state)]
        results.append((steps, weights(model), {k: t.clone() for k, t in state.tensors().items()}))
    (steps, model_weights, learnt), (again, model_weights_again, learnt_again) = results
    assert steps == again
    assert same(model_weights, model_weights_again)
    assert same(learnt, learnt_again)


def _steps(model, config, state):
    events = list(train(model, Sentences(), config, evaluate=no_scores, state=state))
    return [event for event in events if hasattr(event, "gradient_norm")]
