"""GNMT against its equations, sentence by sentence and word by word; called by the tests and by the mutation suite."""

import torch
from torch import Tensor
from torch.testing import assert_close

from checks.attention import plain_score
from checks.making import UNSHARED, example, float64, randomise, vectors
from checks.seq2seq import cells, read, read_both_ways
from regard.models import gnmt
from regard.models.gnmt import GNMT
from regard.protocol import Dimensions
from regard.symbols import PAD

EXACT = {"rtol": 0, "atol": 1e-9}
SIZE = 4


def gnmt_model(*, dimensions: Dimensions = UNSHARED, **settings: object) -> GNMT:
    """A tiny GNMT, deep enough for residuals on both sides, all parameters random, in evaluation."""
    shape = {"size": SIZE, "encoder_layers": 4, "decoder_layers": 4, "dropout": 0.5, "tied": False}
    with float64():
        model = gnmt.build(gnmt.Config(**(shape | settings)), dimensions)
    randomise(model)
    return model.eval()


def sentence_memory(model: GNMT, source: Tensor) -> list[Tensor]:
    """The encoder's top layer for one sentence."""
    words = list(vectors(model.encoder.embedding.weight, source))
    states, _ = read_both_ways(model.encoder.bottom.kernel, words)
    for number, layer in enumerate(model.encoder.upper, start=2):
        outputs, _ = read(cells(layer.kernel)[0], states)
        states = [new + old for new, old in zip(outputs, states, strict=True)] if number > 2 else outputs
    return states


def sentence_logits(model: GNMT, source: Tensor, target: Tensor) -> Tensor:
    """Word by word, all layers of a word before the next word: the order in which a search goes, not training."""
    memory = sentence_memory(model, source)
    layers = [cells(layer.kernel)[0] for layer in (model.decoder.bottom, *model.decoder.upper)]
    zeros = torch.zeros(SIZE, dtype=torch.float64)
    states = [(zeros[None], zeros[None]) for _ in layers]
    logits = []
    for token in target[:-1]:
        query = states[0][0][0]  # y^1_{t-1}
        scores = torch.stack([plain_score(model.decoder.attention.score, query, h) for h in memory])
        context = scores.exp() / scores.exp().sum() @ torch.stack(memory)
        below = vectors(model.decoder.embedding.weight, token)
        for number, cell in enumerate(layers, start=1):
            states[number - 1] = cell(torch.cat([below, context])[None], states[number - 1])
            output = states[number - 1][0][0]
            below = output + below if number > 2 else output
        logits.append(model.readout.weight @ below + model.readout.bias)
    return torch.stack(logits)


def follows_the_equations(**settings: object) -> None:
    """The padded batch says at every word of every sentence what the equations say."""
    model, batch = gnmt_model(**settings), example()
    logits = model(batch).logits
    for row, (source, target) in enumerate(zip(batch.source, batch.target, strict=True)):
        expected = sentence_logits(model, source[source != PAD], target[target != PAD])
        assert_close(logits[row, : len(expected)], expected, **EXACT)


def every_decoder_layer_hears_the_context() -> None:
    """The columns that meet the context learn, in every layer."""
    model, batch = gnmt_model(), example()
    model(batch).logits.square().sum().backward()
    for number, layer in enumerate((model.decoder.bottom, *model.decoder.upper)):
        gradient = layer.kernel.weight_ih_l0.grad
        assert gradient is not None
        assert (gradient[:, SIZE:].abs().amax(0) > 1e-6).all(), f"decoder layer {number} does not hear the context"


def silent_layers_are_transparent() -> None:
    """From the third layer on, a layer that says 0 changes nothing; the second has no such way around it."""
    deep, shallow = gnmt_model(), gnmt_model(encoder_layers=2, decoder_layers=2)
    for side in (deep.encoder, deep.decoder):
        for layer in list(side.upper)[1:]:
            for parameter in layer.parameters():
                parameter.data.zero_()
    kept = shallow.state_dict().keys()
    shallow.load_state_dict({name: value for name, value in deep.state_dict().items() if name in kept})
    batch = example()
    assert_close(deep(batch).logits, shallow(batch).logits, **EXACT)
