"""ELMo against its equations: letter by letter, word by word, sentence by sentence; called by tests and mutations."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.testing import assert_close

from checks.making import float64, randomise
from regard.data.batching import pad
from regard.data.byte_tokenizer import ByteTokenizer
from regard.layers.bidirectional_lm import Direction
from regard.layers.character_convolution import CharacterConvolution
from regard.layers.highway import Highway
from regard.layers.projected_lstm import ProjectedLSTM
from regard.layers.spelling import BEGIN_WORD, END_WORD
from regard.models import elmo
from regard.models.elmo import ELMo
from regard.protocol import Batch, Dimensions
from regard.symbols import BOS, EOS, FIRST_BYTE

EXACT = {"rtol": 0, "atol": 1e-9}
WORDS = 15  # of the target vocabulary
SENTENCES = ["the cat sat on a mat", "a", "naïve dogs bark incomprehensibilities loudly", "yes indeed"]
MAX_LETTERS = 9
SHAPE = {
    "size": 5,
    "cell_size": 7,
    "embedding_size": 3,
    "filters": [{"width": 1, "number": 2}, {"width": 3, "number": 4}, {"width": 6, "number": 3}],
    "highways": 2,
    "num_layers": 3,
    "cell_clip": 0.7,
    "projection_clip": 0.2,  # both so low that they clip
    "max_letters": MAX_LETTERS,
    "dropout": 0.5,
}


def elmo_model(**settings: object) -> ELMo:
    """A tiny ELMo, all parameters random, in evaluation."""
    with float64():
        model = elmo.build(elmo.Config(**(SHAPE | settings)), Dimensions(ByteTokenizer().size, WORDS))
    randomise(model)
    return model.eval()


def bytes_of(sentences: list[str]) -> Tensor:
    return pad([[*ByteTokenizer().encode(sentence), EOS] for sentence in sentences])


def batch_of(sentences: list[str]) -> Batch:
    """Each word has the number of its letters for an id, more or less: the labels must only be distinct enough."""
    targets = [
        [BOS, *(4 + (len(word) + sum(map(ord, word))) % (WORDS - 4) for word in sentence.split()), EOS]
        for sentence in sentences
    ]
    return Batch(bytes_of(sentences), pad(targets))


def letters_of(word: str, longest: int = MAX_LETTERS) -> list[int]:
    """The marks and the bytes of a word, of which too many are cut."""
    return [BEGIN_WORD, *(FIRST_BYTE + byte for byte in word.encode()[: longest - 2]), END_WORD]


def highway(layer: Highway, x: Tensor) -> Tensor:
    g = torch.sigmoid(layer.gate.weight @ x + layer.gate.bias)
    return g * functional.relu(layer.transform.weight @ x + layer.transform.bias) + (1 - g) * x


def word_vector(layer: CharacterConvolution, letters: list[int]) -> Tensor:
    """Window by window: behind the word's end there is nothing, that is 0."""
    features = []
    for convolution in layer.convolutions:
        (width,) = convolution.kernel_size
        rows = [layer.embedding.weight[letter] for letter in letters]
        rows += [torch.zeros_like(rows[0])] * width
        values = []
        for start in range(len(letters)):
            window = torch.stack(rows[start : start + width], 1)  # (embedding, width)
            values.append((convolution.weight * window).sum((1, 2)) + convolution.bias)
        features.append(torch.stack(values).amax(0))
    x = functional.relu(torch.cat(features))
    for each in layer.highways:
        x = highway(each, x)
    return layer.project.weight @ x + layer.project.bias


def clipped(values: Tensor, bound: float | None) -> Tensor:
    if bound is None:
        return values
    most = torch.tensor(bound, dtype=torch.float64)
    return torch.minimum(torch.maximum(values, -most), most)


def lstm(layer: ProjectedLSTM, inputs: list[Tensor]) -> list[Tensor]:
    """Gate by gate, from the rows of U and W that belong to it."""
    cells = layer.project.in_features
    rows = {gate: slice(number * cells, (number + 1) * cells) for number, gate in enumerate("ifgo")}
    h, c = torch.zeros(layer.project.out_features).double(), torch.zeros(cells).double()
    outputs = []
    for x in inputs:
        i, f, g, o = (
            squash(
                layer.input.weight[rows[gate]] @ x + layer.hidden.weight[rows[gate]] @ h + layer.hidden.bias[rows[gate]]
            )
            for gate, squash in zip("ifgo", (torch.sigmoid, torch.sigmoid, torch.tanh, torch.sigmoid), strict=True)
        )
        c = clipped(f * c + i * g, layer.cell_clip)
        h = clipped(layer.project.weight @ (o * torch.tanh(c)), layer.projection_clip)
        outputs.append(h)
    return outputs


def direction(layers: Direction, inputs: list[Tensor]) -> list[list[Tensor]]:
    found: list[list[Tensor]] = []
    for number, layer in enumerate(layers.layers):
        outputs = lstm(layer, inputs)
        inputs = [new + old for new, old in zip(outputs, inputs, strict=True)] if number else outputs
        found.append(inputs)
    return found


def sentence_layers(model: ELMo, sentence: str) -> list[Tensor]:
    """[x; x], and [forward; backward] of each layer, at all places, the two ends of the sentence among them."""
    spelled = [[BEGIN_WORD, BOS, END_WORD], *map(letters_of, sentence.split()), [BEGIN_WORD, EOS, END_WORD]]
    x = [word_vector(model.reader.words, letters) for letters in spelled]
    there, back = direction(model.reader.there, x), direction(model.reader.back, x[::-1])
    pairs = zip([x, *there], [x, *(layer[::-1] for layer in back)], strict=True)
    return [torch.stack([torch.cat(both) for both in zip(left, right, strict=True)]) for left, right in pairs]


def follows_the_equations(**settings: object) -> None:
    """The padded batch has at every place of every sentence what the equations say; nothing behind the end."""
    model = elmo_model(**settings)
    layers = list(model.reader(bytes_of(SENTENCES)).layers)
    for row, sentence in enumerate(SENTENCES):
        for ours, theirs in zip(layers, sentence_layers(model, sentence), strict=True):
            assert_close(ours[row, : len(theirs)], theirs, **EXACT)
            assert (ours[row, len(theirs) :] == 0).all(), "something is read at padding"


def clipping_bites() -> None:
    """The equations were followed where values are clipped: without clipping they are others."""
    tight, loose = elmo_model(), elmo_model(cell_clip=None, projection_clip=None)
    source = bytes_of(SENTENCES)
    assert float(tight.reader(source).forward[0].detach().abs().max()) == 0.2
    assert float(loose.reader(source).forward[0].detach().abs().max()) > 0.2


def predicts_what_it_says(**settings: object) -> None:
    """Word k is read out of the states at k - 1 from the left, and at k + 1 from the right; the end at both ends."""
    model, batch = elmo_model(**settings), batch_of(SENTENCES)
    logits = model(batch).logits
    for row, sentence in enumerate(SENTENCES):
        top = sentence_layers(model, sentence)[-1]
        there, back = top.chunk(2, -1)
        num_words = len(sentence.split())
        expected = model.readout(torch.stack([*there[: num_words + 1]]))
        assert_close(logits[row, : num_words + 1], expected, **EXACT)
        expected = model.readout(torch.stack([*back[2:], back[1]]))
        assert_close(logits[len(SENTENCES) + row, : num_words + 1], expected, **EXACT)


def no_direction_sees_what_it_predicts() -> None:
    """Another k-th word changes what predicts those behind it from the left, before it from the right: no others."""
    words = ["one", "two", "three", "four", "five"]
    model = elmo_model()
    before = model(batch_of([" ".join(words)])).hidden
    for k in range(len(words)):
        changed = [*words[:k], "other", *words[k + 1 :]]
        after = model(Batch(bytes_of([" ".join(changed)]), batch_of([" ".join(words)]).target)).hidden
        left, right = (after - before).abs().amax(-1)
        # Labels: the words 0 to 4, then the end, which the right predicts where it has read word 0.
        assert (left[: k + 1] == 0).all(), "the left sees a word before it has predicted it"
        assert (left[k + 1 :] > 1e-6).all()
        assert (right[k:-1] == 0).all(), "the right sees a word before it has predicted it"
        assert (right[:k] > 1e-6).all()
        assert right[-1] > 1e-6


def neighbours_change_nothing() -> None:
    """A sentence alone has the vectors that it has among others, whatever the order; and the same twice."""
    model, order = elmo_model(), [2, 0, 3, 1]
    together = list(model.reader(bytes_of(SENTENCES)).layers)
    shuffled = list(model.reader(bytes_of([SENTENCES[row] for row in order])).layers)
    for row, sentence in enumerate(SENTENCES):
        places = len(sentence.split()) + 2
        for alone, many, moved in zip(model.reader(bytes_of([sentence])).layers, together, shuffled, strict=True):
            assert_close(many[row, :places], alone[0], **EXACT)
            assert_close(moved[order.index(row), :places], many[row, :places], **EXACT)
    again = list(model.reader(bytes_of(SENTENCES)).layers)
    assert all(torch.equal(one, other) for one, other in zip(together, again, strict=True)), "a state was kept"


def is_torch_s_lstm_with_a_projection() -> None:
    """Without clips the layer is torch's kernel with `proj_size`: values and gradients."""
    with float64():
        ours = ProjectedLSTM(4, size=3, cell_size=6)
        theirs = nn.LSTM(4, 6, proj_size=3, batch_first=True)
    randomise(ours)
    for name, weight in (("weight_ih_l0", ours.input), ("weight_hh_l0", ours.hidden), ("weight_hr_l0", ours.project)):
        getattr(theirs, name).data.copy_(weight.weight)
    theirs.bias_ih_l0.data.copy_(ours.hidden.bias)
    theirs.bias_hh_l0.data.zero_()
    inputs = torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    left, right = inputs.clone().requires_grad_(), inputs.clone().requires_grad_()
    expected, _ = theirs(right)
    outputs = ours(left)
    assert_close(outputs, expected, **EXACT)
    outputs.square().sum().backward()
    expected.square().sum().backward()
    assert_close(left.grad, right.grad, **EXACT)
    assert_close(ours.hidden.weight.grad, theirs.weight_hh_l0.grad, **EXACT)


def names_of_words_differ(vectors: Tensor) -> None:
    """Vectors of different words, (words, size), are different."""
    for one, other in pairwise(vectors):
        assert (one - other).abs().max() > 1e-6
