"""The demonstration's claims: what a tanh RNN forgets, an LSTM keeps."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
from memory_of_recurrence import BASELINE, adding_batch, gradient_norm, layer


def test_in_a_tanh_rnn_gradients_vanish_or_explode_and_in_an_lstm_they_stay():
    vanishing, exploding = layer("rnn", radius=0.7), layer("rnn", radius=1.5)
    lstm = layer("lstm", forget=4.0)
    assert gradient_norm(vanishing, 40) < 1e-4 * gradient_norm(vanishing, 1)
    assert gradient_norm(exploding, 40) > 10 * gradient_norm(exploding, 1)
    assert gradient_norm(lstm, 40) > 0.5 * gradient_norm(lstm, 1)
    # Geometrically: ten steps more cost the same factor, wherever they begin.
    factors = [gradient_norm(vanishing, length + 10) / gradient_norm(vanishing, length) for length in (20, 30)]
    assert factors[1] == pytest.approx(factors[0], rel=0.5)
    assert factors[0] < 0.7**9


def test_whoever_always_says_one_has_the_baseline_s_error():
    numbers, answers = adding_batch(20_000, 10, torch.Generator().manual_seed(0))
    assert numbers[..., 1].sum(1).eq(2).all()
    assert torch.equal((numbers[..., 0] * numbers[..., 1]).sum(1), answers)
    assert float((answers - 1).square().mean()) == pytest.approx(BASELINE, abs=0.005)
