"""The tagger against its equations, sentence by sentence; called by the tests and by the mutation suite."""

import torch
from torch import Tensor
from torch.nn import functional
from torch.testing import assert_close

from checks.elmo import EXACT, SENTENCES, SHAPE, bytes_of, letters_of, sentence_layers, word_vector
from checks.making import float64, randomise
from checks.seq2seq import read_both_ways
from regard.data.batching import pad
from regard.models import tagger
from regard.models.elmo import ELMo
from regard.models.tagger import Tagger
from regard.protocol import Batch, Dimensions
from regard.symbols import BOS

TAGS = 9  # of the target vocabulary
BUCKETS = 50


def tagger_model(**settings: object) -> Tagger:
    """A tiny tagger with all that it can have, all parameters random, in evaluation."""
    shape = (
        {
            "word_size": 3,
            "word_buckets": BUCKETS,
            "filters": [{"width": 2, "number": 4}],
            "letter_size": 3,
            "size": 5,
        }
        | {"elmo": SHAPE, "dropout": 0.5}
        | settings
    )
    if not shape["word_size"]:
        del shape["word_buckets"]
    if not shape["filters"]:
        del shape["letter_size"]
    with float64():
        model = tagger.build(tagger.Config(**shape), Dimensions(260, TAGS))
    randomise(model)
    return model.eval()


def tagged(sentences: list[str]) -> Batch:
    """Each word's tag is the number of its letters, more or less."""
    targets = [[BOS, *(4 + len(word) % (TAGS - 4) for word in sentence.split())] for sentence in sentences]
    return Batch(bytes_of(sentences), pad(targets))


def bucket(word: str) -> int:
    """FNV-1a over the marks and the bytes, 32 bits, its halves folded."""
    value = 0x811C9DC5
    for letter in letters_of(word, longest=50):
        value = (value ^ letter) * 0x01000193 % 2**32
    return 1 + (value ^ value >> 16) % (BUCKETS - 1)


def sentence_logits(model: Tagger, sentence: str) -> Tensor:
    """Word by word."""
    vectors = []
    in_context = [layer[1:-1] for layer in elmo_layers(model, sentence)]
    for place, word in enumerate(sentence.split()):
        parts = []
        if model.words.embedding is not None:
            parts.append(model.words.embedding.weight[bucket(word)])
        if model.words.letters is not None:
            parts.append(word_vector(model.words.letters, letters_of(word, longest=50)))
        if model.elmo is not None:
            layers = [layer[place] for layer in in_context]
            mix = model.elmo.mix
            s = None if mix is None else functional.softmax(mix.scores, 0)
            parts.append(layers[-1] if mix is None else mix.gamma * sum(w * x for w, x in zip(s, layers, strict=True)))
        vectors.append(torch.cat(parts))
    states, _ = read_both_ways(model.recurrent.kernel, vectors)
    return torch.stack([model.readout.weight @ state + model.readout.bias for state in states])


def elmo_layers(model: Tagger, sentence: str) -> list[Tensor]:
    if model.reader is None:
        return []
    return sentence_layers(ELMo(model.reader, model.readout, dropout=0.0), sentence)


def follows_the_equations(**settings: object) -> None:
    """The padded batch says at every word of every sentence what the equations say; `label` says it, too."""
    model, batch = tagger_model(**settings), tagged(SENTENCES)
    logits = model(batch).logits
    assert_close(model.label(batch.source), logits, **EXACT)
    for row, sentence in enumerate(SENTENCES):
        expected = sentence_logits(model, sentence)
        assert_close(logits[row, : len(expected)], expected, **EXACT)


def elmo_stays_as_it_is() -> None:
    """In training nothing of ELMo learns or drops out, and its mixture learns."""
    model, batch = tagger_model().train(), tagged(SENTENCES)
    assert model.reader is not None
    assert model.elmo is not None
    before = list(model.reader(batch.source).layers)
    assert all(torch.equal(one, other) for one, other in zip(before, model.reader(batch.source).layers, strict=True))
    model(batch).logits.square().sum().backward()
    assert all(parameter.grad is None for parameter in model.reader.parameters())
    idle = [
        name
        for name, parameter in model.named_parameters()
        if not name.startswith("reader") and (parameter.grad is None or not parameter.grad.abs().sum() > 0)
    ]
    assert not idle, f"no gradient for {idle}"
