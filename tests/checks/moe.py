"""The model with experts between LSTM layers against its equations, sentence by sentence."""

from typing import Any

import torch
from torch import Tensor
from torch.testing import assert_close

from checks.attention import plain_score
from checks.experts import mixed
from checks.making import UNSHARED, example, float64, randomise, vectors
from checks.seq2seq import EXACT, cells, read, read_both_ways
from regard.models import moe
from regard.models.moe import MixtureOfExperts
from regard.protocol import Dimensions
from regard.symbols import PAD

SIZE = 6


def moe_model(*, dimensions: Dimensions = UNSHARED, **settings: Any) -> MixtureOfExperts:
    """A tiny model, all parameters random, in evaluation."""
    sizes = {"size": SIZE, "encoder_layers": 4, "decoder_layers": 3, "expert_size": 5, "dropout": 0.5}
    experts = {"number": 3, "used": 2}
    with float64():
        model = moe.build(moe.Config.model_validate({**sizes, "experts": experts, **settings}), dimensions)
    randomise(model)
    return model.eval()


def above(layer: Any, inputs: list[Tensor], context: list[Tensor] | None = None) -> list[Tensor]:
    """x + LSTM([x; context]), word by word."""
    beside = inputs if context is None else [torch.cat(pair) for pair in zip(inputs, context, strict=True)]
    outputs, _ = read(cells(layer.recurrent.kernel)[0], beside)
    return [x + y for x, y in zip(inputs, outputs, strict=True)]


def sentence_logits(model: MixtureOfExperts, source: Tensor, target: Tensor) -> Tensor:
    """One sentence, word by word, with nothing in common with the model but its weights."""
    encoder, decoder = model.encoder, model.decoder
    words = list(vectors(encoder.embedding.weight, source))
    states, _ = read_both_ways(encoder.both_ways.kernel, words)
    for layer in encoder.lower:
        states = above(layer, states)
    states = above(encoder.top, [x + mixed(encoder.mixture.experts, x) for x in states])
    memory = torch.stack(states)
    words = list(vectors(decoder.embedding.weight, target[:-1]))
    states, _ = read(cells(decoder.lowest.kernel)[0], words)
    contexts = []
    for state in states:
        scores = torch.stack([plain_score(decoder.attention.score, state, key) for key in memory])
        contexts.append(scores.softmax(0) @ memory)
    for layer in decoder.lower:
        states = above(layer, states, contexts)
    states = above(decoder.top, [x + mixed(decoder.mixture.experts, x) for x in states], contexts)
    return torch.stack(states) @ model.readout.weight.T + model.readout.bias


def follows_the_equations(**settings: Any) -> None:
    """The padded batch says at every word of every sentence what the equations say."""
    model, batch = moe_model(**settings), example()
    logits = model(batch).logits
    for row, (source, target) in enumerate(zip(batch.source, batch.target, strict=True)):
        expected = sentence_logits(model, source[source != PAD], target[target != PAD])
        assert_close(logits[row, : len(expected)], expected, **EXACT)
