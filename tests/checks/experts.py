"""The mixture of experts against its equations; called by the tests and by the mutation suite."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.testing import assert_close

from checks.making import Make, example, float64, randomise
from regard.layers.experts import Experts, NoisyTopK, Routing, expected_load, squared_variation
from regard.layers.fully_connected import FullyConnected
from regard.symbols import PAD

EXACT = {"rtol": 0, "atol": 1e-9}
SIZE, NUMBER, USED = 6, 5, 2


def experts(number: int = NUMBER, used: int = USED, **settings: Any) -> Experts:
    """Random small experts in float64, in evaluation."""
    with float64():
        layer = Experts((FullyConnected(SIZE, 4) for _ in range(number)), SIZE, used=used, site="here", **settings)
    randomise(layer)
    return layer.eval()


def states(*, rows: int = 3, length: int = 7) -> Tensor:
    return torch.randn(rows, length, SIZE, generator=torch.Generator().manual_seed(4), dtype=torch.float64)


def mixed(layer: Experts, token: Tensor) -> Tensor:
    """The paper's equations for one token, without noise: every expert is computed, all but k count 0."""
    scores = (layer.router.gate_weight @ token).tolist()
    kept = sorted(range(len(scores)), key=lambda i: -scores[i])[: layer.router.used]
    total = sum(math.exp(scores[i]) for i in kept)
    everything = []
    for i, network in enumerate(layer.networks):
        hidden = (network.inner.weight @ token + network.inner.bias).clamp(min=0)
        gate = math.exp(scores[i]) / total if i in kept else 0.0
        everything.append(gate * (network.outer.weight @ hidden + network.outer.bias))
    return torch.stack(everything).sum(0)


def dispatch_is_the_masked_sum() -> None:
    """What is computed sparsely equals the dense sum, token by token; padding gives exactly 0."""
    layer, tokens = experts(), states()
    mask = torch.arange(7) < torch.tensor([[7], [3], [5]])
    for used_mask in (None, mask):
        outputs = layer(tokens, used_mask)
        for row in range(3):
            for place in range(7):
                if used_mask is None or used_mask[row, place]:
                    assert_close(outputs[row, place], mixed(layer, tokens[row, place]), **EXACT)
                else:
                    assert (outputs[row, place] == 0).all(), "padding was sent to an expert"


def an_expert_computes_only_its_tokens() -> None:
    """Every real token is computed k times, in evaluation and in training; padding never."""
    layer, mask = experts(), torch.arange(7) < torch.tensor([[7], [3], [5]])
    seen: list[int] = []
    for network in layer.networks:
        network.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].size(0)))
    for training in (False, True):
        seen.clear()
        routings: list[Routing] = []
        layer.train(training)(states(), mask, routings)
        assert sum(seen) == USED * int(mask.sum()), f"{sum(seen)} rows computed"
        gates = routings[0].gates
        assert ((gates != 0).sum(-1) == USED * mask).all(), "not k experts a token"
        assert_close(gates.sum(-1), mask.double(), **EXACT)


def neighbours_change_nothing() -> None:
    """A token among others is routed and computed as alone, and twice the same."""
    layer, tokens = experts(), states()
    together = layer(tokens)
    assert_close(layer(tokens), together, rtol=0, atol=0)
    for row in range(3):
        for place in range(7):
            assert_close(layer(tokens[row : row + 1, place : place + 1])[0, 0], together[row, place], **EXACT)


def load_is_conserved() -> None:
    """Drawn again and again, the expected loads of all experts add up to k tokens a token: E[sum of load] = k B."""
    torch.manual_seed(0)
    with float64():
        router = NoisyTopK(SIZE, 8, 4)
    randomise(router)
    router.train()
    tokens = states(rows=1, length=32)[0]
    loads = torch.stack([router(tokens).load.detach() for _ in range(200)])
    assert abs(loads.sum(1).mean() - 4 * 32) < 1.0, f"{float(loads.sum(1).mean()):.1f} instead of {4 * 32}"


def load_is_the_chance_to_be_chosen() -> None:
    """P(x, i) equals how often expert i is among the k best when its noise alone is drawn again."""
    generator = torch.Generator().manual_seed(1)
    clean = torch.randn(1, 5, generator=generator, dtype=torch.float64)
    deviation = torch.rand(1, 5, generator=generator, dtype=torch.float64) + 0.5
    noisy = clean + deviation * torch.randn(1, 5, generator=generator, dtype=torch.float64)
    estimated = expected_load(clean, noisy, deviation, 2)
    for expert in range(5):
        draws = noisy.repeat(40_000, 1)
        draws[:, expert] = clean[0, expert] + deviation[0, expert] * torch.randn(40_000, generator=generator).double()
        share = (draws.topk(2, -1).indices == expert).any(1).double().mean()
        assert abs(share - estimated[expert]) < 0.02, f"{float(estimated[expert]):.3f} instead of {float(share):.3f}"


def losses_follow_the_formula() -> None:
    """The penalty is w_importance CV^2 of the gates' sums + w_load CV^2 of the load, both gradients reach W_g."""
    amounts = torch.tensor([1.0, 2.0, 3.0, 6.0], dtype=torch.float64)
    assert_close(squared_variation(amounts), torch.tensor(3.5 / 9, dtype=torch.float64), rtol=1e-6, atol=0)
    for weights in ((0.3, 0.0), (0.0, 0.7)):
        layer = experts(importance_weight=weights[0], load_weight=weights[1]).train()
        routings: list[Routing] = []
        torch.manual_seed(3)
        layer(states(), None, routings)
        torch.manual_seed(3)
        chosen = layer.router(states().flatten(0, 1))
        importance = routings[0].gates.flatten(0, 1).sum(0)
        expected = sum(
            weight * amount.var(correction=0) / amount.mean() ** 2
            for weight, amount in zip(weights, (importance, chosen.load), strict=True)
        )
        assert_close(routings[0].penalty, expected, rtol=1e-6, atol=0)
        routings[0].penalty.backward()
        assert layer.router.gate_weight.grad.abs().sum() > 0
        assert layer.router.noise_weight.grad.abs().sum() > 0, "the noise does not learn"


def routes_follow_the_tokens(make: Make) -> None:
    """A model's `routings`: k experts at every real token, none at padding; nothing of it changes what is said."""
    model, batch = make(), example()
    found = model.routings(batch)
    assert len({routing.site for routing in found}) == len(found) > 0
    for routing in found:
        tokens = batch.source if routing.site.startswith("encoder") else batch.labels
        assert ((routing.gates != 0).sum(-1) == 2 * (tokens != PAD)).all(), routing.site
        assert routing.penalty is None


def the_penalty_is_summed_over_target_tokens(make: Make) -> None:
    """While training it is the sum of the layers' penalties times the labels that count; else there is none."""
    model, batch = make(), example()
    assert model(batch).penalty is None
    for module in model.modules():
        if hasattr(module, "probability"):
            module._num_dropped = 0
    model.train()
    torch.manual_seed(5)
    penalty = model(batch).penalty
    torch.manual_seed(5)
    layers = [routing.penalty for routing in model.routings(batch)]
    assert_close(penalty, sum(layers) * batch.num_target_tokens, rtol=1e-9, atol=0)
    assert penalty > 0
