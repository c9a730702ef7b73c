"""Language models against their equations, and the noise of AWD-LSTM; called by the tests and by the mutation suite."""

import torch
from torch import Tensor
from torch.testing import assert_close

from checks.making import UNSHARED, example, float64, randomise
from checks.overfitting import greedy
from checks.seq2seq import cells, read
from regard.layers.awd_lstm import LockedDropout, WeightDropped
from regard.models import language_model
from regard.models.language_model import LanguageModel
from regard.protocol import Dimensions
from regard.symbols import PAD
from regard.training.loss import sequence_loss

EXACT = {"rtol": 0, "atol": 1e-9}
QUIET = dict.fromkeys(("word_dropout", "input_dropout", "hidden_dropout", "weight_dropout", "output_dropout"), 0.0)


def language_model_model(*, dimensions: Dimensions = UNSHARED, **settings: object) -> LanguageModel:
    """A tiny language model, all parameters random, in evaluation; its noise is strong, should it ever be used."""
    noise = dict.fromkeys(QUIET, 0.5)
    with float64():
        model = language_model.build(
            language_model.Config(**({"embedding_size": 4, "size": 6, "num_layers": 3} | noise | settings)), dimensions
        )
    randomise(model)
    return model.eval()


def text_logits(model: LanguageModel, target: Tensor) -> Tensor:
    """The equations for one text, word by word."""
    states = list(model.reader.embedding.weight[target[:-1]])
    for layer in model.reader.layers:
        states, _ = read(cells(layer.kernel)[0], states)
    return torch.stack([model.readout.weight @ state + model.readout.bias for state in states])


def follows_the_equations(**settings: object) -> None:
    """The padded batch says at every place of every text what the equations say."""
    model, batch = language_model_model(**settings), example()
    logits = model(batch).logits
    for row, target in enumerate(batch.target):
        expected = text_logits(model, target[target != PAD])
        assert_close(logits[row, : len(expected)], expected, **EXACT)


def the_source_is_not_read() -> None:
    """Another source changes nothing."""
    model, batch = language_model_model(), example()
    other = batch._replace(source=batch.source.flip(0, 1))
    assert_close(model(other).logits, model(batch).logits, **EXACT)


def reading_goes_on(**settings: object) -> None:
    """Five tokens and then five more are ten tokens."""
    model = language_model_model(**settings)
    tokens = torch.arange(20).reshape(2, 10) % 7 + 4
    whole = model.reader(tokens)
    first = model.reader(tokens[:, :5])
    second = model.reader(tokens[:, 5:], first.states)
    assert_close(torch.cat([first.raw, second.raw], 1), whole.raw, **EXACT)
    assert_close(second.states[-1].hidden[:, 0], whole.raw[:, -1], **EXACT)


def weights_are_dropped_the_same_at_every_step(cell: str) -> None:
    """Only W is: what does not know of a past is always the same, the rest differs from draw to draw, W learns."""
    torch.manual_seed(3)
    layer = WeightDropped(cell, 4, size=5, weight_dropout=0.5).double().train()
    inputs = torch.randn(2, 6, 4, dtype=torch.float64)
    (one, _), (other, _) = layer(inputs), layer(inputs)
    assert_close(one[:, 0], other[:, 0], **EXACT)
    assert (one[:, 1:] - other[:, 1:]).abs().amax() > 1e-3
    one.sum().backward()
    gradient = layer.kernel.weight_hh_l0.grad
    assert gradient is not None
    assert gradient.abs().sum() > 0
    # With one weight matrix, whatever it is, the layer is a recurrent layer: the same noise at every step.
    layer.weight_dropout = 1e-15
    expected, final = layer.eval()(inputs)
    outputs, noisy = layer.train()(inputs)
    assert_close(outputs, expected, **EXACT)
    assert_close(noisy.hidden, final.hidden, **EXACT)


def locked_noise_is_the_same_at_every_place() -> None:
    """One mask a row, with the mean kept."""
    torch.manual_seed(1)
    noise = LockedDropout(0.4).train()
    mask = noise(torch.ones(50, 7, 40))
    assert torch.equal(mask, mask[:, :1].expand_as(mask))
    assert not torch.equal(mask[0], mask[1])
    assert set(mask.unique().tolist()) == {0.0, torch.tensor(1 / 0.6).item()}
    assert abs(float(mask[:, 0].mean()) - 1) < 0.05


def words_are_dropped_as_a_whole() -> None:
    """A word is 0 at all its places in a batch, or at none."""
    model = language_model_model(**(QUIET | {"word_dropout": 0.5}))
    torch.manual_seed(2)
    tokens = torch.arange(40).reshape(4, 10) % 7 + 4
    embedded = model.train().reader._embed(tokens)
    dropped = (embedded == 0).all(-1)
    for word in tokens.unique():
        assert dropped[tokens == word].unique().numel() == 1
    assert 0 < dropped.sum() < dropped.numel()
    kept = embedded[~dropped]
    assert_close(kept, 2 * model.reader.embedding.weight[tokens[~dropped]], **EXACT)


def the_penalty_follows_the_formula() -> None:
    """Alpha mean of h^2 + beta mean of (h_t - h_(t-1))^2, the means over features, summed over real labels."""
    model, batch = language_model_model(**QUIET, alpha=2.0, beta=1.0), example()
    states = model.reader(batch.decoder_input).raw
    expected = 0.0
    for row, labels in enumerate(batch.labels):
        for place in range(int((labels != PAD).sum())):
            expected += 2.0 * float(states[row, place].detach().square().mean())
            if place:
                expected += float((states[row, place] - states[row, place - 1]).detach().square().mean())
    assert model(batch).penalty is None
    assert abs(float(model.train()(batch).penalty.detach()) - expected) < 1e-9


def learned_by_heart(model: LanguageModel, *, updates: int = 120) -> None:
    """Less than 0.01 nats a token of one text (of several, nobody knows the first word), and that is what it says."""
    batch = example(source_lengths=(2,), target_lengths=(9,))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(updates):
        loss = sequence_loss(model(batch), batch.labels)
        loss.total.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert float(loss.nll) / loss.num_tokens < 0.01
    assert torch.equal(greedy(model.eval(), batch), batch.labels)
