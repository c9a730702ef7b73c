"""What training minimises, and the quantities of information theory that it comes from."""

import math
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from regard.protocol import Output
from regard.symbols import PAD
from regard.training.chunked_cross_entropy import linear_cross_entropy

Unit = Literal["nats", "bits"]


class Loss(NamedTuple):
    """Sums over the target tokens of a batch, in nats.

    `total` is what is backpropagated: label-smoothed cross entropy plus the model's penalty.
    `nll` is the plain negative log-likelihood, from which perplexity = exp(nll / num_tokens).
    """

    total: Float[Tensor, ""]
    nll: Float[Tensor, ""]
    num_tokens: int


def sequence_loss(
    output: Output,
    labels: Int[Tensor, "batch target_length"],
    *,
    label_smoothing: float = 0.0,
    weights: Float[Tensor, " batch"] | None = None,
) -> Loss:
    """Cross entropy of all labels that are not `PAD`: sum of (1 - e) nll + e mean over the vocabulary of -log p.

    That is torch's convention of label smoothing e; tensor2tensor's and fairseq's spread e over the other
    V - 1 tokens only. `labels` may stay on the CPU while the output is on a GPU, which spares the GPU a wait.
    A batch without any label gives 0, not NaN. With `weights`, sentence b counts weights[b] times in `total`.
    """
    flat = labels.reshape(-1)
    rows = (flat != PAD).nonzero().squeeze(1)
    row_weights = None if weights is None else weights.index_select(0, (rows // labels.size(1)).to(weights.device))
    hidden = output.hidden.flatten(0, 1)
    if rows.numel() < flat.numel():
        flat = flat.index_select(0, rows)
        hidden = hidden.index_select(0, rows.to(hidden.device, non_blocking=True))
    readout = output.readout
    total, nll = linear_cross_entropy(
        hidden,
        readout.weight,
        readout.bias,
        flat.to(hidden.device, non_blocking=True),
        label_smoothing=label_smoothing,
        row_weights=row_weights,
    )
    if output.penalty is not None:
        total = total + output.penalty
    return Loss(total, nll, rows.numel())


def entropy(p: Float[Tensor, "*batch outcomes"], unit: Unit = "nats") -> Float[Tensor, "*batch"]:
    """H(p) = - sum_i p_i log p_i, with 0 log 0 = 0."""
    return -torch.xlogy(p, p).sum(-1) / _nats_per(unit)


def cross_entropy(
    p: Float[Tensor, "*batch outcomes"], q: Float[Tensor, "*batch outcomes"], unit: Unit = "nats"
) -> Float[Tensor, "*batch"]:
    """H(p, q) = - sum_i p_i log q_i = H(p) + KL(p || q): the mean code length of p with a code made for q.

    Infinite where q gives no probability to something that happens under p.
    """
    return -torch.xlogy(p, q).sum(-1) / _nats_per(unit)


def kl_divergence(
    p: Float[Tensor, "*batch outcomes"], q: Float[Tensor, "*batch outcomes"], unit: Unit = "nats"
) -> Float[Tensor, "*batch"]:
    """KL(p || q) = sum_i p_i log(p_i / q_i): what a code made for q wastes on p (Kullback and Leibler 1951)."""
    # One term at a time: H(p, q) - H(p) would cancel, and give inf - inf for no reason.
    return (torch.xlogy(p, p) - torch.xlogy(p, q)).sum(-1) / _nats_per(unit)


def js_divergence(
    p: Float[Tensor, "*batch outcomes"], q: Float[Tensor, "*batch outcomes"], unit: Unit = "nats"
) -> Float[Tensor, "*batch"]:
    """JSD(p, q) = KL(p || m) / 2 + KL(q || m) / 2 with m = (p + q) / 2: symmetric, at most ln 2 nats or 1 bit.

    Its square root is a metric (Endres and Schindelin 2003); this is not the square root.
    """
    mean = (p + q) / 2
    divergence = (kl_divergence(p, mean) + kl_divergence(q, mean)) / 2
    # Rounding must not carry it over its bounds, where the root of a negative number waits.
    return divergence.clamp(0.0, math.log(2.0)) / _nats_per(unit)


def _nats_per(unit: Unit) -> float:
    return math.log(2.0) if unit == "bits" else 1.0
