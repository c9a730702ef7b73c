import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy as scipy_entropy

from regard.training.loss import cross_entropy, entropy, js_divergence, kl_divergence

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
