"""Entropy and divergences: against scipy, against each other, and against a code that is really built."""

import heapq
import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy as scipy_entropy

from regard.training.information import (
    cross_entropy,
    entropy,
    js_divergence,
    kl_divergence,
    kl_divergence_of_logits,
    perplexity,
)

P = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
Q = torch.tensor([0.2, 0.2, 0.6], dtype=torch.float64)


def random_pairs() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    p, q = torch.rand(2, 1000, 7, generator=generator, dtype=torch.float64)
    p[::3, 0] = 0  # 0 log 0 is 0
    return p / p.sum(-1, keepdim=True), q / q.sum(-1, keepdim=True)


@pytest.mark.parametrize(("unit", "base"), [("nats", math.e), ("bits", 2)])
def test_they_equal_scipy(unit, base):
    p, q = random_pairs()
    np.testing.assert_allclose(entropy(p, unit), scipy_entropy(p, base=base, axis=-1), atol=1e-12)
    np.testing.assert_allclose(kl_divergence(p, q, unit), scipy_entropy(p, q, base=base, axis=-1), atol=1e-12)
    # scipy gives the square root, the Jensen-Shannon distance.
    np.testing.assert_allclose(js_divergence(p, q, unit), jensenshannon(p, q, base=base, axis=-1) ** 2, atol=1e-12)


def test_cross_entropy_is_entropy_plus_divergence():
    p, q = random_pairs()
    torch.testing.assert_close(cross_entropy(p, q), entropy(p) + kl_divergence(p, q), atol=1e-12, rtol=0)


def test_the_worked_example_has_its_known_values():
    assert float(kl_divergence(P, Q)) == pytest.approx(0.3601, abs=5e-5)
    assert float(kl_divergence(Q, P)) == pytest.approx(0.3948, abs=5e-5)
    assert float(js_divergence(P, Q)) == pytest.approx(0.0906, abs=5e-5)


def test_a_fair_coin_has_one_bit():
    assert float(entropy(torch.tensor([0.5, 0.5]), "bits")) == 1.0


def test_divergence_from_the_impossible_is_infinite():
    assert float(kl_divergence(torch.tensor([0.5, 0.5]), torch.tensor([1.0, 0.0]))) == math.inf
    assert float(kl_divergence(torch.tensor([1.0, 0.0]), torch.tensor([0.5, 0.5]))) == pytest.approx(math.log(2))


def test_disjoint_supports_are_exactly_ln_2_apart():
    left, right = torch.tensor([0.5, 0.5, 0.0, 0.0]).double(), torch.tensor([0.0, 0.0, 0.25, 0.75]).double()
    assert float(js_divergence(left, right)) == pytest.approx(math.log(2), abs=2e-16)
    assert float(js_divergence(left, right, "bits")) == pytest.approx(1.0, abs=2e-16)


def test_the_jensen_shannon_divergence_is_symmetric_and_bounded():
    p, q = random_pairs()
    there = js_divergence(p, q)
    torch.testing.assert_close(there, js_divergence(q, p), atol=1e-14, rtol=0)
    assert float(there.min()) >= 0
    assert float(there.max()) <= math.log(2)
    assert float(js_divergence(p, p).abs().max()) < 1e-15


def test_kl_divergence_agrees_with_torch_whose_arguments_come_the_other_way_round():
    p, q = random_pairs()
    theirs = torch.nn.functional.kl_div(q.log(), p, reduction="none").sum(-1)
    torch.testing.assert_close(kl_divergence(p, q), theirs, atol=1e-12, rtol=0)


def code_lengths(p: list[float]) -> list[int]:
    """Huffman's code: the two least likely become one, until all are one; everybody's length is how often he was."""
    lengths, heap = [0] * len(p), [(value, [place]) for place, value in enumerate(p)]
    heapq.heapify(heap)
    while len(heap) > 1:
        (one, left), (other, right) = heapq.heappop(heap), heapq.heappop(heap)
        for place in (*left, *right):
            lengths[place] += 1
        heapq.heappush(heap, (one + other, left + right))
    return lengths


def test_the_best_code_needs_entropy_and_less_than_a_bit_more():
    p, _ = random_pairs()
    for row in p[:200]:
        mean_length = float((row * torch.tensor(code_lengths(row.tolist()))).sum())
        assert float(entropy(row, "bits")) - 1e-12 <= mean_length < float(entropy(row, "bits")) + 1


def test_a_code_for_powers_of_two_needs_exactly_the_entropy():
    p = torch.tensor([0.5, 0.25, 0.125, 0.125], dtype=torch.float64)
    assert float((p * torch.tensor(code_lengths(p.tolist()))).sum()) == float(entropy(p, "bits")) == 1.75


QUANTITIES = [entropy, cross_entropy, kl_divergence, js_divergence]


def of_logits(quantity, left, right, unit="nats"):
    p, q = left.softmax(-1), right.softmax(-1)
    return quantity(p, unit) if quantity is entropy else quantity(p, q, unit)


@pytest.mark.parametrize("unit", ["nats", "bits"])
@pytest.mark.parametrize("quantity", QUANTITIES)
def test_gradients_are_those_of_finite_differences(quantity, unit):
    logits = torch.randn(2, 4, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    left, right = (side.requires_grad_() for side in logits)
    assert torch.autograd.gradcheck(lambda one, other: of_logits(quantity, one, other, unit), (left, right))


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_what_a_mask_has_hidden_gives_no_nan(quantity):
    hidden = torch.tensor([0.3, 0.1, -math.inf, 0.7], dtype=torch.float64, requires_grad=True)
    other = torch.tensor([0.2, 0.5, -math.inf, 0.1], dtype=torch.float64, requires_grad=True)
    value = of_logits(quantity, hidden, other)
    real = [0, 1, 3]
    shown, seen = hidden.detach()[real].requires_grad_(), other.detach()[real].requires_grad_()
    expected = of_logits(quantity, shown, seen)
    torch.testing.assert_close(value, expected)
    value.backward()
    expected.backward()
    for masked, plain in ((hidden, shown), (other, seen)):
        gradient = torch.zeros(4, dtype=torch.float64) if masked.grad is None else masked.grad
        assert gradient[2] == 0
        if plain.grad is not None:
            torch.testing.assert_close(gradient[real], plain.grad)


@pytest.mark.parametrize("unit", ["nats", "bits"])
def test_the_divergence_of_logits_is_that_of_their_probabilities(unit):
    left, right = torch.randn(2, 100, 7, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    expected = kl_divergence(left.softmax(-1), right.softmax(-1), unit)
    torch.testing.assert_close(kl_divergence_of_logits(left, right, unit), expected, atol=1e-12, rtol=0)
    masked = left.masked_fill(left < -1, -math.inf)
    expected = kl_divergence(masked.softmax(-1), right.softmax(-1), unit)
    torch.testing.assert_close(kl_divergence_of_logits(masked, right, unit), expected, atol=1e-12, rtol=0)


def test_the_divergence_of_logits_survives_a_very_sure_model():
    fair, sure = torch.zeros(2), torch.tensor([0.0, 400.0], requires_grad=True)
    value = kl_divergence_of_logits(fair, sure)
    assert float(value.detach()) == pytest.approx(200 - math.log(2))
    value.backward()
    torch.testing.assert_close(sure.grad, torch.tensor([-0.5, 0.5]))
    assert (
        float(kl_divergence(fair.softmax(-1), sure.detach().softmax(-1))) == math.inf
    )  # the probability is rounded to 0
    assert float(kl_divergence_of_logits(fair, torch.tensor([0.0, -math.inf]))) == math.inf


def test_the_root_of_the_jensen_shannon_divergence_is_a_metric():
    p, q = random_pairs()
    r = q.roll(1, 0)
    there, on, direct = (js_divergence(*pair).sqrt() for pair in ((p, q), (q, r), (p, r)))
    assert bool((direct <= there + on + 1e-12).all())


def test_perplexity_is_how_many_equal_outcomes_there_would_be():
    assert perplexity(float(entropy(torch.full((6,), 1 / 6, dtype=torch.float64)))) == pytest.approx(6)
    assert perplexity(0.0) == 1.0
    assert perplexity(1e6) == math.inf
