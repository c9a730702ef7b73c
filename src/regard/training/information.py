"""Information theory: entropy, cross entropy, and the divergences of Kullback-Leibler and Jensen-Shannon.

In nats, of which losses are made, or in bits, which people know: 1 bit = ln 2 nats. An outcome that cannot happen
adds nothing, 0 log 0 = 0, neither to a value nor to a gradient: so what a mask has hidden gives no NaN.
"""

import math
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

Unit = Literal["nats", "bits"]
Distribution = Float[Tensor, "*batch outcomes"]


def entropy(p: Distribution, unit: Unit = "nats") -> Float[Tensor, "*batch"]:
    """H(p) = - sum_i p_i log p_i: the mean length of the best code for p, within one bit of what a code can reach."""
    return in_unit(-_mean_log(p, p), unit)


def cross_entropy(p: Distribution, q: Distribution, unit: Unit = "nats") -> Float[Tensor, "*batch"]:
    """H(p, q) = - sum_i p_i log q_i = H(p) + KL(p || q): the mean code length of p with a code made for q.

    Infinite where q gives no probability to something that happens under p.
    """
    return in_unit(-_mean_log(p, q), unit)


def kl_divergence(p: Distribution, q: Distribution, unit: Unit = "nats") -> Float[Tensor, "*batch"]:
    """KL(p || q) = sum_i p_i log(p_i / q_i): what a code made for q wastes on p (Kullback and Leibler 1951).

    Never negative, 0 where p = q, infinite where q excludes what happens under p, and another number for (q, p).
    """
    # One term at a time: H(p, q) - H(p) would cancel, and give inf - inf for no reason.
    happens = p > 0
    ratio = torch.where(happens, p, 1).log() - torch.where(happens, q, 1).log()
    return in_unit(torch.where(happens, p * ratio, 0).sum(-1), unit)


def js_divergence(p: Distribution, q: Distribution, unit: Unit = "nats") -> Float[Tensor, "*batch"]:
    """JSD(p, q) = KL(p || m) / 2 + KL(q || m) / 2 with m = (p + q) / 2: symmetric, at most ln 2 nats or 1 bit.

    Its square root is a metric (Endres and Schindelin 2003); this is not the square root.
    """
    mean = (p + q) / 2
    divergence = (kl_divergence(p, mean) + kl_divergence(q, mean)) / 2
    # Rounding must not carry it over its bounds, where the root of a negative number waits.
    return in_unit(divergence.clamp(0.0, math.log(2.0)), unit)


def kl_divergence_of_logits(
    p_logits: Distribution, q_logits: Distribution, unit: Unit = "nats"
) -> Float[Tensor, "*batch"]:
    """KL(softmax(p_logits) || softmax(q_logits)), finite however sure of itself q is: nothing is rounded to 0.

    A logit of -inf in `p_logits` is an outcome that cannot happen; where only `q_logits` has one, it is infinite.
    """
    p_log, q_log = p_logits.log_softmax(-1), q_logits.log_softmax(-1)
    happens = p_log > -math.inf
    ratio = torch.where(happens, p_log, 0) - torch.where(happens, q_log, 0)
    return in_unit((p_log.exp() * ratio).sum(-1), unit)


def jeffreys_divergence_of_logits(
    p_logits: Distribution, q_logits: Distribution, unit: Unit = "nats"
) -> Float[Tensor, "*batch"]:
    """KL(p || q) + KL(q || p) = sum_i (p_i - q_i)(log p_i - log q_i) of p = softmax(p_logits) and q (Jeffreys 1946).

    Symmetric, 0 where p = q; of finite logits.
    """
    p_log, q_log = p_logits.log_softmax(-1), q_logits.log_softmax(-1)
    return in_unit(((p_log.exp() - q_log.exp()) * (p_log - q_log)).sum(-1), unit)


def perplexity(nats: float) -> float:
    """exp(H): of how many equally likely outcomes that would be the entropy; infinite beyond what a float holds."""
    return math.exp(nats) if nats < 709 else math.inf


def in_unit(nats: Float[Tensor, "*batch"], unit: Unit) -> Float[Tensor, "*batch"]:
    """`nats` in `unit`."""
    return nats / math.log(2.0) if unit == "bits" else nats


def _mean_log(p: Tensor, q: Tensor) -> Tensor:
    happens = p > 0
    return torch.where(happens, p * torch.where(happens, q, 1).log(), 0).sum(-1)
