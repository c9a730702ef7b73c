"""Bugs that mixtures of experts have had, planted one by one: the check of each must go red."""

from typing import Any

import pytest
import torch
from bugs import plain

import regard.layers.experts as experts
import regard.models.transformer as transformer
from checks import experts as checks
from checks import models as model_checks
from checks.making import transformer_model
from checks.moe import follows_the_equations, moe_model
from checks.planted import Bug, Change, green_then_red
from regard.layers.experts import Chosen, Experts, NoisyTopK
from regard.models import moe
from regard.models.moe import Mixture


def with_model(check: Any) -> Any:
    return lambda _: check(moe_model)


def with_transformer(check: Any) -> Any:
    return lambda _: check(lambda **s: transformer_model(**({"experts": {"number": 3, "used": 2}} | s)))


def _softmax_before_the_choice(_: Change) -> Change:
    def wrong(self: Any, scores: torch.Tensor) -> Chosen:
        best, chosen = scores.softmax(-1).topk(self.used, -1)
        return Chosen(chosen, best, None)

    return wrong


def _noise_in_evaluation(right: Change) -> Change:
    def wrong(self: Any, states: torch.Tensor) -> Chosen:
        before, self.training = self.training, True
        chosen = right(self, states)
        self.training = before
        return chosen

    return wrong


def _compares_with_the_gates(right: Change) -> Change:
    def wrong(clean: torch.Tensor, noisy: torch.Tensor, deviation: torch.Tensor, used: int) -> torch.Tensor:
        return right(clean, noisy.softmax(-1), deviation, used)

    return wrong


def _never_excludes(right: Change) -> Change:
    def wrong(clean: torch.Tensor, noisy: torch.Tensor, deviation: torch.Tensor, used: int) -> torch.Tensor:
        threshold = noisy.topk(used, -1).values[:, -1:]
        return torch.special.ndtr((clean - threshold) / deviation).sum(0)

    return wrong


def _sorted_back_wrongly(right: Change) -> Change:
    def wrong(self: Any, tokens: torch.Tensor, chosen: Chosen) -> torch.Tensor:
        return right(self, tokens, chosen._replace(gates=chosen.gates.flip(-1)))

    return wrong


def _dense(right: Change) -> Change:
    def wrong(self: Any, tokens: torch.Tensor, chosen: Chosen) -> torch.Tensor:
        for network in self.networks:
            network(tokens)
        return right(self, tokens, chosen)

    return wrong


def _padding_is_routed(right: Change) -> Change:
    return lambda self, states, mask=None, routings=None: right(self, states, None, routings)


def _capacity(right: Change) -> Change:
    """Tokens beyond an expert's capacity are dropped, as fixed-size implementations do."""

    def wrong(self: Any, tokens: torch.Tensor, chosen: Chosen) -> torch.Tensor:
        first = torch.arange(len(tokens)) < len(tokens) * 2 // 3 + 1
        return right(self, tokens, chosen) * first[:, None]

    return wrong


BUGS = [
    Bug("softmax before the choice", NoisyTopK, "_choose", _softmax_before_the_choice,
        plain(checks.dispatch_is_the_masked_sum)),
    Bug("softmax before the choice (model)", NoisyTopK, "_choose", _softmax_before_the_choice,
        plain(follows_the_equations)),
    Bug("gates of other experts", Experts, "_dispatch", _sorted_back_wrongly, plain(checks.dispatch_is_the_masked_sum)),
    Bug("noise in evaluation", NoisyTopK, "forward", _noise_in_evaluation, plain(checks.neighbours_change_nothing)),
    Bug("noise in evaluation (model)", NoisyTopK, "forward", _noise_in_evaluation,
        with_model(model_checks.evaluation_is_deterministic)),
    Bug("every expert computes everything", Experts, "_dispatch", _dense,
        plain(checks.an_expert_computes_only_its_tokens)),
    Bug("padding is routed", Experts, "forward", _padding_is_routed, plain(checks.an_expert_computes_only_its_tokens)),
    Bug("padding is routed (model)", Experts, "forward", _padding_is_routed,
        with_model(checks.routes_follow_the_tokens)),
    Bug("padding is routed (Transformer)", transformer, "_think",
        lambda right: lambda network, states, mask, routings: right(network, states, torch.ones_like(mask), routings),
        with_transformer(checks.routes_follow_the_tokens)),
    Bug("tokens over capacity are dropped", Experts, "_dispatch", _capacity,
        with_model(model_checks.padding_changes_nothing)),
    Bug("raw scores compared with a softmax", experts, "expected_load", _compares_with_the_gates,
        plain(checks.load_is_conserved)),
    Bug("the threshold does not exclude the expert itself", experts, "expected_load", _never_excludes,
        plain(checks.load_is_conserved)),
    Bug("the threshold does not exclude the expert itself (chance)", checks, "expected_load", _never_excludes,
        plain(checks.load_is_the_chance_to_be_chosen)),
    Bug("variance of a sample", checks, "squared_variation",
        lambda _: lambda amounts: amounts.var() / amounts.mean().square(), plain(checks.losses_follow_the_formula)),
    Bug("variance of a sample (penalty)", experts, "squared_variation",
        lambda _: lambda amounts: amounts.var() / amounts.mean().square(), plain(checks.losses_follow_the_formula)),
    Bug("importance counts tokens, not gates", Experts, "_penalty",
        lambda right: lambda self, gates, load: right(self, (gates > 0).to(gates.dtype) * gates.detach(), load),
        plain(checks.losses_follow_the_formula)),
    Bug("the penalty is a mean", moe, "total_penalty",
        lambda right: lambda routings, counted: None if not routings else right(routings, counted) / counted.sum(),
        with_model(checks.the_penalty_is_summed_over_target_tokens)),
    Bug("the penalty counts padding", transformer, "total_penalty",
        lambda right: lambda routings, counted: right(routings, torch.ones_like(counted)),
        with_transformer(checks.the_penalty_is_summed_over_target_tokens)),
    Bug("no residual around the experts", Mixture, "forward",
        lambda _: lambda self, inputs, mask=None, routings=None: self.experts(inputs, mask, routings),
        plain(follows_the_equations)),
]  # fmt: skip


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.what)
def test_the_check_is_green_without_the_bug_and_red_with_it(bug, monkeypatch):
    green_then_red(bug, monkeypatch)
