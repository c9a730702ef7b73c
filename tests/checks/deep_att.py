"""Deep-Att against its equations, word by word; called by the tests and by the mutation suite."""

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.testing import assert_close

from checks.attention import plain_score
from checks.making import UNSHARED, example, float64, randomise, vectors
from regard.models import deep_att
from regard.models.deep_att import DeepAtt, Layer
from regard.protocol import Batch, Dimensions
from regard.symbols import BOS, EOS, PAD

EXACT = {"rtol": 0, "atol": 1e-9}
SIZE = 3


def deep_att_model(*, dimensions: Dimensions = UNSHARED, **settings: object) -> DeepAtt:
    """A tiny Deep-Att, deep enough for both directions in both columns, all parameters random, in evaluation."""
    shape = {
        "size": SIZE,
        "embedding_size": 4,
        "encoder_layers": 3,
        "decoder_layers": 3,
        "memory_size": 5,
        "tied": False,
    }
    with float64():
        model = deep_att.build(deep_att.Config(**(shape | {"dropout": 0.5} | settings)), dimensions)
    randomise(model)
    return model.eval()


def lstm_on(layer: Layer, f: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    """The paper's recurrent block: gates from f, which is there already, and from what is remembered."""
    kernel = layer.recurrent.kernel
    gates = f + kernel.weight_hh_l0 @ hidden + kernel.bias_ih_l0 + kernel.bias_hh_l0
    i, forget, g, o = gates.split(SIZE)
    cell = forget.sigmoid() * cell + i.sigmoid() * g.tanh()
    return o.sigmoid() * cell.tanh(), cell


def half(f: Tensor) -> Tensor:
    return f[: 2 * SIZE]


def sentence_memory(model: DeepAtt, source: Tensor) -> list[Tensor]:
    """What e is at every word: [h of column 1; h of column 2; f of column 1; f of column 2]."""
    parts: list[list[Tensor]] = []
    for number, column in enumerate(model.encoder.columns):
        below: list[Tensor] = list(vectors(model.encoder.embedding.weight, source))
        fs: list[Tensor] = []
        for depth, layer in enumerate(column):
            fs = [layer.recurrent.kernel.weight_ih_l0 @ vector for vector in below]
            hiddens: dict[int, Tensor] = {}
            hidden = cell = torch.zeros(SIZE, dtype=torch.float64)
            backward = (depth + number) % 2 == 1
            for place in sorted(range(len(source)), reverse=backward):
                hidden, cell = lstm_on(layer, fs[place], hidden, cell)
                hiddens[place] = hidden
            tops = [hiddens[place] for place in range(len(source))]
            below = [torch.cat([half(f), h]) for f, h in zip(fs, tops, strict=True)] if layer.fast_forward else tops
        parts += [tops, fs] if column[0].fast_forward else [tops]
    ordered = [parts[0], parts[2], parts[1], parts[3]] if len(parts) == 4 else parts
    return [torch.cat(at_word) for at_word in zip(*ordered, strict=True)]


def sentence_logits(model: DeepAtt, source: Tensor, target: Tensor) -> Tensor:
    """Word by word, all layers of a word before the next word: the order in which a search goes, not training."""
    memory = torch.stack(sentence_memory(model, source))
    keys = memory @ model.decoder.key.weight.T
    zeros = torch.zeros(SIZE, dtype=torch.float64)
    states = [(zeros, zeros) for _ in model.decoder.layers]
    logits = []
    for token in target[:-1]:
        scores = torch.stack([plain_score(model.decoder.attention.score, states[0][0], key) for key in keys])
        below = torch.cat([vectors(model.decoder.embedding.weight, token), scores.softmax(0) @ memory])
        for number, layer in enumerate(model.decoder.layers):
            f = layer.recurrent.kernel.weight_ih_l0 @ below
            states[number] = lstm_on(layer, f, *states[number])
            hidden = states[number][0]
            below = torch.cat([half(f), hidden]) if layer.fast_forward else hidden
        logits.append(model.readout.weight @ hidden + model.readout.bias)
    return torch.stack(logits)


def follows_the_equations(**settings: object) -> None:
    """The padded batch says at every word of every sentence what the equations say."""
    model, batch = deep_att_model(**settings), example()
    logits = model(batch).logits
    for row, (source, target) in enumerate(zip(batch.source, batch.target, strict=True)):
        expected = sentence_logits(model, source[source != PAD], target[target != PAD])
        assert_close(logits[row, : len(expected)], expected, **EXACT)


def the_fast_way_is_linear() -> None:
    """With every h silent, each column's f at the top is one matrix, the product of all W_f, times the word."""
    model = deep_att_model()
    for column in model.encoder.columns:
        for layer in column:  # an output gate that is shut: h is 0 (to 1e-22)
            layer.recurrent.kernel.bias_ih_l0.data[3 * SIZE :] = -50.0
            layer.recurrent.kernel.weight_hh_l0.data.zero_()
    model.encoder.embedding.weight.data.mul_(0.05)  # so that f does not open it again
    source = torch.tensor([[4, 7, 9, EOS]])
    e = model.encoder(source)[0]
    for number, column in enumerate(model.encoder.columns):
        product = torch.eye(4, dtype=torch.float64)
        for depth, layer in enumerate(column):
            weight = layer.recurrent.kernel.weight_ih_l0
            product = (weight if depth == 0 else weight[:, : 2 * SIZE]) @ product
            top, product = product, product[: 2 * SIZE]
        start = 2 * SIZE + 4 * SIZE * number
        expected = vectors(model.encoder.embedding.weight, source[0]) @ top.T
        assert_close(e[:, start : start + 4 * SIZE], expected, rtol=0, atol=1e-9)


def the_columns_read_against_each_other() -> None:
    """The lowest layer of column 1 hears only what is before a word, that of column 2 only what is behind it."""
    model = deep_att_model(encoder_layers=1)
    source = torch.tensor([[4, 5, 6, 7, EOS]])
    before = model.encoder(source)[0]
    source[0, 2] = 9
    changed = (model.encoder(source)[0] - before).abs() > 1e-9
    hears_first = changed[:, :SIZE].any(1).tolist()
    hears_second = changed[:, SIZE : 2 * SIZE].any(1).tolist()
    assert hears_first == [False, False, True, True, True]
    assert hears_second == [True, True, True, False, False]


def gradient_at_the_bottom(*, fast_forward: bool, depth: int = 8, length: int = 12) -> float:
    """How much the loss feels the lowest layer's W_f under a stack of 2 x `depth` layers; fresh parameters."""
    torch.manual_seed(1)
    size = 16
    shape = {
        "size": size,
        "embedding_size": size,
        "memory_size": size,
        "encoder_layers": depth,
        "decoder_layers": depth,
    }
    with float64():
        model = deep_att.build(deep_att.Config(**shape, fast_forward=fast_forward, dropout=0.0), Dimensions(20, 20))
    generator = torch.Generator().manual_seed(2)
    source, target = torch.randint(EOS + 1, 20, (2, 8, length), generator=generator)
    source[:, -1] = target[:, -1] = EOS
    batch = Batch(source, torch.cat([torch.full((8, 1), BOS), target], 1))
    functional.cross_entropy(model(batch).logits.flatten(0, 1), batch.labels.flatten()).backward()
    lowest: nn.Parameter = model.encoder.columns[0][0].recurrent.kernel.weight_ih_l0
    assert lowest.grad is not None
    return float(lowest.grad.norm())


def the_gradient_reaches_the_bottom() -> None:
    """Through sixteen layers at least ten times as much of it arrives on the linear way (the research's gate)."""
    ratio = gradient_at_the_bottom(fast_forward=True) / gradient_at_the_bottom(fast_forward=False)
    assert ratio > 10, f"{ratio:.1f} times"
