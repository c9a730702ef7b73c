"""Text classifiers against their equations, text by text; called by the tests and by the mutation suite."""

import torch
from torch import Tensor
from torch.nn import functional
from torch.testing import assert_close

from checks.making import UNSHARED, Make, example, float64, randomise
from checks.seq2seq import read_both_ways
from regard.attention.record import AttentionRecord
from regard.models import text_classifier
from regard.models.text_classifier import ConvolutionReader, RecurrentReader, TextClassifier
from regard.protocol import Batch, Dimensions
from regard.symbols import EOS, PAD
from regard.training.loss import sequence_loss

EXACT = {"rtol": 0, "atol": 1e-9}


def text_classifier_model(*, dimensions: Dimensions = UNSHARED, **settings: object) -> TextClassifier:
    """A tiny classifier, all parameters random, in evaluation."""
    with float64():
        model = text_classifier.build(
            text_classifier.Config(**({"embedding_size": 5, "size": 6, "dropout": 0.5} | settings)), dimensions
        )
    randomise(model)
    return model.eval()


def texts(**lengths: tuple[int, ...]) -> Batch:
    """Ragged texts with one label each."""
    batch = example(**lengths)
    return batch._replace(target=batch.target[:, :2])


def convolved(reader: ConvolutionReader, words: list[Tensor]) -> list[Tensor]:
    """relu(sum over the window of filter times word, + b), word by word, for each width; outside there is nothing."""
    states = []
    for place in range(len(words)):
        features = []
        for width, bank in zip(reader.widths, reader.filters, strict=True):
            total = bank.bias.clone()
            for offset in range(width):
                at = place + offset - (width - 1) // 2
                if 0 <= at < len(words):
                    total = total + bank.weight[:, :, offset] @ words[at]
            features.append(total.clamp(min=0))
        states.append(torch.cat(features))
    return states


def text_logits(model: TextClassifier, source: Tensor) -> Tensor:
    """The equations for one text."""
    words = list(model.embedding.weight[source])
    last = None
    if isinstance(model.reader, ConvolutionReader):
        states = convolved(model.reader, words)
    elif isinstance(model.reader, RecurrentReader):
        kernel = model.reader.recurrent.kernel
        states, _ = read_both_ways(kernel, words)
        half = kernel.hidden_size
        last = torch.cat([states[-1][:half], states[0][half:]]) if kernel.bidirectional else states[-1]
    else:
        states = words
    stacked = torch.stack(states)
    if model.attend is not None:
        keys = [torch.tanh(model.attend.key.weight @ state + model.attend.key.bias) for state in states]
        scores = torch.stack([model.attend.query @ key for key in keys])
        vector = scores.exp() / scores.exp().sum() @ stacked
    else:
        vector = torch.cat(
            {
                "last": [last],
                "max": [stacked.amax(0)],
                "mean": [stacked.mean(0)],
                "concat": [last, stacked.amax(0), stacked.mean(0)],
            }[model.pooling]
        )
    for layer in model.hidden:
        vector = (layer.weight @ vector + layer.bias).clamp(min=0)
    return model.readout.weight @ vector + model.readout.bias


def follows_the_equations(**settings: object) -> None:
    """The padded batch says of every text what the equations say, by `forward` and by `label` alike."""
    model, batch = text_classifier_model(**settings), texts(source_lengths=(6, 1, 4))
    logits = model(batch).logits
    assert_close(model.label(batch.source), logits, **EXACT)
    for row, source in enumerate(batch.source):
        assert_close(logits[row, 0], text_logits(model, source[source != PAD]), **EXACT)


def padding_changes_nothing(make: Make) -> None:
    """A text alone gets the logits that it gets among longer neighbours, in whatever order."""
    model, batch = make(), texts()
    together = model.label(batch.source)
    for row, source in enumerate(batch.source):
        assert_close(model.label(source[source != PAD][None])[0], together[row], **EXACT)
        wider = functional.pad(source[None], (0, 4), value=PAD)
        assert_close(model.label(wider)[0], together[row], **EXACT)
    order = torch.tensor([2, 0, 1])
    assert_close(model.label(batch.source[order]), together[order], **EXACT)


def the_order_of_words_matters(make: Make) -> None:
    """A text read backwards is another text."""
    model = make()
    there, back = (model.label(torch.tensor([[*words, EOS]])) for words in ([4, 5, 6, 7], [7, 6, 5, 4]))
    assert (there - back).abs().amax() > 1e-4


def every_parameter_learns(make: Make) -> None:
    """No parameter is without gradient."""
    model, batch = make(), texts()
    sequence_loss(model(batch), batch.labels).total.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, f"{name} does not learn"


def the_weights_are_those_that_were_used() -> None:
    """Recorded weights are a distribution over real words, 0 at padding; they times the states are the vector."""
    model, batch, record = text_classifier_model(preset="attention"), texts(), AttentionRecord()
    assert_close(model.label(batch.source, record), model.label(batch.source), **EXACT)
    weights = record.weights("pool")
    assert weights.shape == (3, 1, 1, batch.source.size(1))
    assert_close(weights.sum(-1), torch.ones_like(weights[..., 0]), **EXACT)
    hidden = (batch.source == PAD)[:, None, None]
    assert hidden.any()
    assert (weights[hidden] == 0).all()
    mask = batch.source != PAD
    states = model.reader(model.embedding(batch.source), mask).states
    assert_close(model.readout(weights[:, 0] @ states), model.label(batch.source), **EXACT)


def learned_by_heart(model: TextClassifier, *, updates: int = 120, learning_rate: float = 0.02) -> None:
    """Less than 0.01 nats a label after `updates`, and every label right."""
    batch = texts(source_lengths=(6, 3, 5, 4), target_lengths=(2, 2, 2, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)
    for _ in range(updates):
        loss = sequence_loss(model(batch), batch.labels)
        loss.total.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert float(loss.nll) / loss.num_tokens < 0.01
    assert torch.equal(model.eval().label(batch.source).argmax(-1), batch.labels)


def exclusive_or(hidden_layers: int, *, seed: int = 0) -> float:
    """The share of right labels that a fully connected network reaches where the label is whether two words agree."""
    torch.manual_seed(seed)
    hidden = {"hidden_layers": hidden_layers} | ({"size": 16} if hidden_layers else {})
    config = text_classifier.Config(preset="fully_connected", embedding_size=8, dropout=0.0, **hidden)
    model = text_classifier.build(config, Dimensions(8, 6))
    source = torch.tensor([[4, 6, EOS], [4, 7, EOS], [5, 6, EOS], [5, 7, EOS]])
    labels = torch.tensor([[4], [5], [5], [4]])
    batch = Batch(source, torch.cat([torch.full((4, 1), 2), labels], 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(300):
        loss = sequence_loss(model(batch), batch.labels)
        loss.total.backward()
        optimizer.step()
        optimizer.zero_grad()
    return float((model.label(source).argmax(-1) == labels).float().mean())
