"""Spelling, hashing, convolutions over letters, highways, projected LSTMs, mixtures of layers."""

import pytest
import torch

from checks import elmo as checks
from checks.elmo import bytes_of
from checks.making import float64, randomise
from regard.layers.highway import Highway
from regard.layers.projected_lstm import ProjectedLSTM
from regard.layers.scalar_mix import ScalarMix
from regard.layers.spelling import BEGIN_WORD, END_WORD, NUM_SYMBOLS, hash_words, spell
from regard.symbols import BOS, EOS, PAD


def test_words_are_spelled_between_their_marks():
    sentences = ["the cät", "", "a incomprehensibilities b"]
    letters, num_words = spell(bytes_of(sentences), longest=9)
    assert num_words.tolist() == [2, 0, 3]
    for row, sentence in enumerate(sentences):
        words = [[BEGIN_WORD, BOS, END_WORD], *(_cut(word) for word in sentence.split()), [BEGIN_WORD, EOS, END_WORD]]
        for place, word in enumerate(words):
            assert [x for x in letters[row, place].tolist() if x != PAD] == word
            assert letters[row, place, : len(word)].tolist() == word
        assert (letters[row, len(words) :] == PAD).all()
    assert int(letters.max()) < NUM_SYMBOLS == 262


def _cut(word: str) -> list[int]:
    return [BEGIN_WORD, *(4 + byte for byte in word.encode()[:7]), END_WORD]


def test_a_hash_belongs_to_the_word_and_not_to_its_place():
    letters, _ = spell(bytes_of(["one two one", "two"]), longest=50)
    hashed = hash_words(letters, buckets=1000)
    assert hashed[0, 1] == hashed[0, 3] != hashed[0, 2] == hashed[1, 1]
    assert hashed[1, 3:].tolist() == [0, 0]
    assert (hashed[0] > 0).all()
    longer, _ = spell(bytes_of(["one incomprehensibilities"]), longest=50)
    assert hash_words(longer, buckets=1000)[0, 1] == hashed[0, 1]


def test_few_words_share_a_bucket():
    words = [f"{left}{right}" for left in "abcdefghijklmnopqrst" for right in range(100)]
    letters, _ = spell(bytes_of([" ".join(words)]), longest=50)
    buckets = hash_words(letters, buckets=20_000)[0, 1:-1]
    assert int(buckets.max()) < 20_000
    assert len(set(buckets.tolist())) > 0.92 * len(words)  # 2,000 balls in 20,000 urns: 0.95 expected


def test_a_highway_is_its_formula_and_begins_near_the_identity():
    with float64():
        layer = Highway(5)
    x = torch.randn(3, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    near = torch.sigmoid(torch.tensor(-2.0)).item()
    layer.gate.weight.data.zero_()
    layer.transform.weight.data.zero_()
    layer.transform.bias.data.zero_()
    torch.testing.assert_close(layer(x), (1 - near) * x, rtol=1e-6, atol=0)
    randomise(layer)
    torch.testing.assert_close(layer(x), torch.stack([checks.highway(layer, row) for row in x]))


def test_the_projected_lstm_is_torch_s():
    checks.is_torch_s_lstm_with_a_projection()


def test_forget_gates_start_open():
    layer = ProjectedLSTM(4, size=3, cell_size=6)
    assert layer.hidden.bias.chunk(4)[1].tolist() == [1.0] * 6
    assert float(layer.hidden.bias.detach().sum()) == 6.0


def test_a_mixture_is_its_formula():
    mix = ScalarMix(3).double()
    layers = list(torch.randn(3, 2, 4, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64))
    torch.testing.assert_close(mix(layers), torch.stack(layers).mean(0))
    mix.scores.data, mix.gamma.data = torch.tensor([0.3, -1.0, 2.0]).double(), torch.tensor(1.7).double()
    weights = mix.scores.exp() / mix.scores.exp().sum()
    torch.testing.assert_close(
        mix(layers), 1.7 * sum(weight * layer for weight, layer in zip(weights, layers, strict=True))
    )
    assert float(mix.weights.detach().sum()) == pytest.approx(1.0)
    with pytest.raises(ValueError, match="argument"):
        mix(layers[:2])
