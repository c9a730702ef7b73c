"""Sparsely gated mixture of experts: many networks, of which every token uses a few (Shazeer et al. 2017).

y = sum of G(x)_i E_i(x) over the k experts with the highest noisy scores H(x)_i; the others are not computed. So
the parameters grow with the number of experts, while a token costs k of them.
"""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from regard.config import base
from regard.layers.stack import Stack
from regard.operations import of_matrices

# The least standard deviation of the noise: Softplus may come so near to 0 that the load has no gradient.
_LEAST_NOISE = 1e-2
_SMALLEST_SQUARE = 1e-10


class ExpertsConfig(base.Config):
    """How many experts there are, how many a token uses, and what unequal use costs in nats a target token."""

    number: int = Field(8, ge=2)
    used: int = Field(2, ge=2)  # k; a single gate would always be 1, and its scores would learn from no token
    importance_weight: float = Field(0.1, ge=0)  # of the importance loss, equation 7
    load_weight: float = Field(0.1, ge=0)  # of the load loss, equation 11

    @model_validator(mode="after")
    def _are_sparse(self) -> "ExpertsConfig":
        if self.used >= self.number:
            raise ValueError(
                f"used ({self.used}) must be less than number ({self.number}): where every token uses every expert, "
                "there is nothing to choose"
            )
        return self


class Routing(NamedTuple):
    """Where the tokens of one layer went. `gates` are 0 at experts that were not used, and all 0 at padding."""

    site: str
    gates: Float[Tensor, "batch length experts"]
    penalty: Float[Tensor, ""] | None  # weighted importance and load losses; None in evaluation


class Chosen(NamedTuple):
    """The k experts of every token, best first, their gates (a softmax over these k), and how the choice is loaded."""

    experts: Int[Tensor, "tokens used"]
    gates: Float[Tensor, "tokens used"]
    load: Float[Tensor, " experts"] | None  # expected tokens an expert (equation 10); None without noise


class NoisyTopK(nn.Module):
    """G(x) = softmax(KeepTopK(H(x), k)), H(x) = x W_g + noise * Softplus(x W_n) (equations 3 to 5), all in float32.

    There is noise while training only. W_g and W_n start at 0, so that at first chance alone divides the tokens.
    """

    def __init__(self, size: int, number: int, used: int) -> None:
        """Raises `ValueError` unless 1 <= `used` <= `number`."""
        super().__init__()
        if not 1 <= used <= number:
            raise ValueError(f"a token can use 1 to {number} of {number} experts, but not {used}")
        self.used = used
        self.gate_weight = nn.Parameter(torch.zeros(number, size))
        self.noise_weight = nn.Parameter(torch.zeros(number, size))

    def forward(self, states: Float[Tensor, "tokens size"]) -> Chosen:
        """Choose for every token by itself."""
        exact = torch.promote_types(states.dtype, torch.float32)
        # In 16 bits the scores of two experts are often equal, and rounding would choose.
        with torch.autocast(states.device.type, enabled=False):
            states = states.to(exact)
            clean = functional.linear(states, self.gate_weight)
            if not self.training:
                return self._choose(clean)
            deviation = functional.softplus(functional.linear(states, self.noise_weight)) + _LEAST_NOISE
            noisy = clean + torch.randn_like(clean) * deviation
            return self._choose(noisy)._replace(load=expected_load(clean, noisy, deviation, self.used))

    def flops(self, tokens: int) -> int:
        """Operations on so many tokens: W_g, and while training W_n."""
        return 2 * tokens * self.gate_weight.numel() * (2 if self.training else 1)

    def _choose(self, scores: Tensor) -> Chosen:
        best, experts = scores.topk(self.used, -1)
        return Chosen(experts, best.softmax(-1), None)


def expected_load(
    clean: Float[Tensor, "tokens experts"],
    noisy: Float[Tensor, "tokens experts"],
    deviation: Float[Tensor, "tokens experts"],
    used: int,
) -> Float[Tensor, " experts"]:
    """Sum over tokens of P(x, i): that expert i is among the k best if only its own noise is drawn again.

    P(x, i) = Phi((clean_i - the k-th best of all *other* noisy scores) / deviation_i) (equations 8 to 10). It has a
    gradient, which a count of tokens has not.
    """
    if used == noisy.size(1):
        return torch.full_like(clean[0], float(clean.size(0)))
    best = noisy.topk(used + 1, -1).values
    last_in, first_out = best[:, used - 1 : used], best[:, used:]
    threshold = torch.where(noisy >= last_in, first_out, last_in)
    return torch.special.ndtr((clean - threshold) / deviation).sum(0)


def squared_variation(amounts: Float[Tensor, " experts"]) -> Float[Tensor, ""]:
    """CV(amounts)^2 = variance / mean^2, with the variance of the population: 0 where all are equal."""
    return amounts.var(correction=0) / (amounts.mean().square() + _SMALLEST_SQUARE)


class Experts(nn.Module):
    """Networks of which every real token uses `used`; padding uses none, costs nothing and comes out as 0."""

    def __init__(
        self,
        networks: Iterable[nn.Module],
        size: int,
        *,
        used: int,
        site: str,
        importance_weight: float = 0.0,
        load_weight: float = 0.0,
    ) -> None:
        """Each of `networks` maps (tokens, size) to (tokens, size)."""
        super().__init__()
        self.networks = Stack(networks)
        self.router = NoisyTopK(size, len(self.networks), used)
        self.site = site
        self.importance_weight, self.load_weight = importance_weight, load_weight

    def forward(
        self,
        states: Float[Tensor, "batch length size"],
        mask: Bool[Tensor, "batch length"] | None = None,
        routings: list[Routing] | None = None,
    ) -> Float[Tensor, "batch length size"]:
        """Route every token where `mask` is True (all of them without one); a `Routing` is added to `routings`."""
        tokens = states.flatten(0, 1)
        real = None if mask is None else mask.flatten().nonzero().squeeze(1)
        if real is not None:
            tokens = tokens.index_select(0, real)
        chosen: Chosen = self.router(tokens)
        if routings is not None:
            gates = chosen.gates.new_zeros(len(tokens), len(self.networks)).scatter(1, chosen.experts, chosen.gates)
            routings.append(Routing(self.site, _put_back(gates, real, states), self._penalty(gates, chosen.load)))
        return _put_back(self._dispatch(tokens, chosen), real, states)

    def flops(self, tokens: int) -> int:
        """Operations on so many real tokens: of the choice, and of `used` experts of one size a token."""
        return self.router.flops(tokens) + of_matrices(self.networks[0], self.router.used * tokens)

    def _dispatch(self, tokens: Tensor, chosen: Chosen) -> Tensor:
        """Sort the (token, expert) pairs by expert, let every expert do its own, and sort them back."""
        pairs = chosen.experts.flatten()
        order = pairs.argsort(stable=True)
        counts = pairs.bincount(minlength=len(self.networks)).tolist()
        parts = tokens.index_select(0, order // self.router.used).split(counts)
        # While training also those without a token: their gradient is then 0 and not missing.
        asked = [
            (network, part) for network, part in zip(self.networks, parts, strict=True) if self.training or len(part)
        ]
        if not asked:
            return tokens
        outputs = torch.cat([network(part) for network, part in asked])
        # Not index_add: a GPU would add in any order, and the sum would be another every time.
        answers = outputs.index_select(0, order.argsort()).unflatten(0, chosen.experts.shape)
        return (answers * chosen.gates.to(answers.dtype).unsqueeze(-1)).sum(1)

    def _penalty(self, gates: Tensor, load: Tensor | None) -> Tensor | None:
        """w_importance CV(sum of gates)^2 + w_load CV(load)^2 (equations 6, 7 and 11)."""
        if load is None:
            return None
        importance = squared_variation(gates.sum(0))
        return self.importance_weight * importance + self.load_weight * squared_variation(load)


def _put_back(rows: Tensor, real: Tensor | None, like: Tensor) -> Tensor:
    """Rows of real tokens to (batch, length, n), 0 at padding."""
    if real is not None:
        rows = rows.new_zeros(like.size(0) * like.size(1), rows.size(1)).index_copy(0, real, rows)
    return rows.unflatten(0, like.shape[:2])


def total_penalty(routings: list[Routing], counted: Bool[Tensor, "batch length"]) -> Float[Tensor, ""] | None:
    """The penalties of all layers, once for each target token that counts; None in evaluation or without layers."""
    penalties = [routing.penalty for routing in routings if routing.penalty is not None]
    return torch.stack(penalties).sum() * counted.sum() if penalties else None
