"""The mixture of experts by itself: equations, sparsity, balance, and what happens without the balance losses."""

import pytest
import torch
from pydantic import ValidationError
from torch.testing import assert_close

from checks import experts as checks
from regard.layers.experts import Experts, ExpertsConfig, NoisyTopK, Routing, expected_load, total_penalty
from regard.layers.fully_connected import FullyConnected


@pytest.mark.parametrize("check", [
    checks.dispatch_is_the_masked_sum,
    checks.an_expert_computes_only_its_tokens,
    checks.neighbours_change_nothing,
    checks.load_is_conserved,
    checks.load_is_the_chance_to_be_chosen,
    checks.losses_follow_the_formula,
], ids=lambda check: check.__name__)  # fmt: skip
def test_it_keeps(check):
    check()


def test_all_experts_without_noise_are_a_dense_softmax():
    layer, tokens = checks.experts(used=checks.NUMBER), checks.states()
    gates = (tokens @ layer.router.gate_weight.T).softmax(-1)
    everything = torch.stack([network(tokens) for network in layer.networks], -2)
    assert_close(layer(tokens), (gates.unsqueeze(-1) * everything).sum(-2), **checks.EXACT)


def test_where_all_are_used_the_load_is_equal():
    ones = torch.ones(4, 3)
    assert expected_load(ones, ones, ones, 3).tolist() == [4.0, 4.0, 4.0]


def test_at_first_chance_alone_divides_the_tokens():
    router = NoisyTopK(checks.SIZE, 8, 2)
    assert (router.gate_weight == 0).all()
    assert (router.noise_weight == 0).all()
    torch.manual_seed(0)
    chosen = router.train()(torch.randn(4000, checks.SIZE))
    share = chosen.experts.flatten().bincount(minlength=8) / 8000
    assert_close(share, torch.full((8,), 1 / 8), rtol=0, atol=0.02)


def test_a_batch_of_nothing_but_padding_is_harmless():
    layer, nothing = checks.experts(importance_weight=1.0, load_weight=1.0).train(), torch.zeros(3, 7).bool()
    routings: list[Routing] = []
    states = checks.states().requires_grad_()
    outputs = layer(states, nothing, routings)
    assert (outputs == 0).all()
    (outputs.sum() + total_penalty(routings, nothing)).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in layer.parameters())
    assert (layer.eval()(states, nothing) == 0).all()


def test_an_expert_without_a_token_has_a_gradient_of_zero_and_not_none():
    layer = checks.experts(number=8, used=1).train()
    layer(checks.states(rows=1, length=1)).sum().backward()
    assert all(p.grad is not None for p in layer.networks.parameters())


def test_scores_are_exact_under_autocast():
    layer, tokens = checks.experts().float(), checks.states().float().flatten(0, 1)
    exact = layer.router(tokens)
    with torch.autocast("cpu", torch.bfloat16):
        half = layer.router(tokens)
        outputs = layer(checks.states().float())
    assert half.experts.equal(exact.experts)
    assert_close(half.gates, exact.gates, rtol=0, atol=0)
    assert_close(outputs.float(), layer(checks.states().float()), rtol=0, atol=0.1)


@pytest.mark.parametrize(("settings", "message"), [
    ({"number": 4, "used": 4}, r"used \(4\) must be less than number \(4\)"),
    ({"used": 1}, "greater than or equal to 2"),
    ({"number": 1}, "greater than or equal to 2"),
    ({"load_weight": -0.1}, "greater than or equal to 0"),
])  # fmt: skip
def test_settings_that_do_not_go_together_are_refused(settings, message):
    with pytest.raises(ValidationError, match=message):
        ExpertsConfig.model_validate(settings)


def test_no_more_experts_can_be_used_than_there_are():
    with pytest.raises(ValueError, match="a token can use 1 to 3 of 3 experts, but not 4"):
        NoisyTopK(5, 3, 4)


def most_loaded(weight: float) -> float:
    """Train 12 experts, 2 a token, on a random function; the tokens of the busiest one, in multiples of the mean.

    Counted as training sends them, with its noise: that is what the losses balance (see docs/log.md).
    """
    torch.manual_seed(0)
    layer = Experts(
        (FullyConnected(8, 8) for _ in range(12)), 8, used=2, site="", importance_weight=weight, load_weight=weight
    ).train()
    function = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.Tanh(), torch.nn.Linear(16, 8)).requires_grad_(
        False
    )
    optimizer = torch.optim.Adam(layer.parameters(), 0.03)
    for _ in range(60):
        inputs, routings = torch.randn(1, 48, 8) + 1, []
        loss = (layer(inputs, None, routings) - function(inputs)).square().mean() + routings[0].penalty
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    routings = []
    layer(torch.randn(1, 1000, 8) + 1, None, routings)
    load = (routings[0].gates != 0).sum((0, 1)).float()
    return float(load.max() / load.mean())


def test_without_the_losses_few_experts_take_all_tokens_and_with_them_they_share():
    assert most_loaded(0.0) > 5.0  # of 6 at most
    assert most_loaded(1.0) < 1.5
