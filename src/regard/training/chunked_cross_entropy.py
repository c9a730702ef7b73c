"""Linear layer and label-smoothed cross entropy in one: the logits exist a few rows at a time, never as a whole.

How far two passes over the same labels differ is measured on the way, from probabilities that are there anyway.
"""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

# Logits alive at once. On a CPU they should stay in its last cache; a GPU wants matrices that fill it.
CPU_LOGITS = 1 << 22
GPU_LOGITS = 1 << 27
# Probabilities alive at once on a CPU: in float32 they and their logits fit the cache of one core.
CPU_PROBABILITIES = 1 << 18


class RowLosses(NamedTuple):
    """Sums over all rows, in nats. Only `total` carries a gradient."""

    total: Float[Tensor, ""]
    nll: Float[Tensor, ""]


def linear_cross_entropy(
    hidden: Float[Tensor, "rows size"],
    weight: Float[Tensor, "vocabulary size"],
    bias: Float[Tensor, " vocabulary"] | None,
    labels: Int[Tensor, " rows"],
    *,
    label_smoothing: float = 0.0,
    row_weights: Float[Tensor, " rows"] | None = None,
    disagreement: float = 0.0,
    chunk_rows: int | None = None,
) -> RowLosses:
    """Sum over rows of (1 - e) nll + e mean_v(-log p_v), where log p = log_softmax(hidden weight.T + bias).

    With `row_weights`, which are constants, row r counts row_weights[r] times in `total`; `nll` stays as it is.
    With `disagreement` rows 2i and 2i + 1 are two passes over one label, and `total` grows by so many times the sum
    over all pairs of KL(p || q) + KL(q || p).

    This is torch's convention (`functional.cross_entropy(..., label_smoothing=e, reduction="sum")`): the
    share e is spread over the whole vocabulary, the label included. The products run in the autocast type
    when autocast is on; softmax, loss and the gradient of the parameters are kept in at least float32.
    The gradient is made chunk by chunk in the forward pass, so backward only scales it, and there is no
    second derivative.

    Raises:
        ValueError: with `disagreement`, an odd number of rows.
    """
    if disagreement and len(hidden) % 2:
        raise ValueError(f"two passes give an even number of rows, but there are {len(hidden)}")
    if chunk_rows is None:
        chunk_rows = rows_at_a_time(hidden, weight.size(0))
    task = _Task(labels, label_smoothing, row_weights, disagreement, chunk_rows, torch.is_grad_enabled())
    total, nll = _LinearCrossEntropy.apply(hidden, weight, bias, task)  # type: ignore[no-untyped-call]
    return RowLosses(total, nll)


def rows_at_a_time(hidden: Float[Tensor, "rows size"], vocabulary: int) -> int:
    """How many rows' logits should be alive at once, where `hidden` is."""
    return max(1, (GPU_LOGITS if hidden.is_cuda else CPU_LOGITS) // vocabulary)


class _Task(NamedTuple):
    """What is asked of the layer; nothing in it gets a gradient."""

    labels: Tensor
    label_smoothing: float
    row_weights: Tensor | None
    disagreement: float
    chunk_rows: int
    with_gradient: bool


class _Gradients(NamedTuple):
    """Of the summed loss, in at least float32."""

    hidden: Tensor
    weight: Tensor
    bias: Tensor | None


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        context: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        task: _Task,
    ) -> tuple[Tensor, Tensor]:
        device = hidden.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype
        with torch.autocast(device, enabled=False):
            cast = hidden.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)
            losses, gradients = _run(*cast, task)
        if gradients is not None:
            context.save_for_backward(*gradients)
            context.dtypes = hidden.dtype, weight.dtype
        context.mark_non_differentiable(losses.nll)
        return losses.total, losses.nll

    @staticmethod
    @once_differentiable
    def backward(context: Any, total_gradient: Tensor, _nll_gradient: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, bias = context.saved_tensors
        hidden_dtype, weight_dtype = context.dtypes
        return (
            (hidden * total_gradient).to(hidden_dtype),
            (weight * total_gradient).to(weight_dtype),
            None if bias is None else (bias * total_gradient).to(weight_dtype),
            None,
        )


def _run(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    task: _Task,
) -> tuple[RowLosses, _Gradients | None]:
    label_smoothing, row_weights = task.label_smoothing, task.row_weights
    exact = torch.promote_types(hidden.dtype, torch.float32)
    num_rows, vocabulary = hidden.size(0), weight.size(0)
    # The mean over the vocabulary is linear in the logits, so it and its gradient need no pass over them.
    mean_weight = weight.mean(0, dtype=exact)
    mean_logit = hidden.to(exact) @ mean_weight
    if bias is not None:
        mean_logit += bias.mean(dtype=exact)
    nlls = torch.empty_like(mean_logit)
    log_sums = torch.empty_like(mean_logit)
    distance = mean_logit.new_zeros(())
    to_hidden = torch.empty_like(hidden, dtype=exact)
    to_weight = None if num_rows else torch.zeros_like(weight, dtype=exact)
    to_bias = None if bias is None else torch.zeros_like(bias, dtype=exact)
    chunk_rows, block_rows = _rows_of_products_and_softmax(task, vocabulary, hidden.is_cuda)
    scratch = None if hidden.is_cuda else weight.new_empty(2, min(block_rows, num_rows), vocabulary, dtype=exact)
    for chunk_start in range(0, num_rows, chunk_rows):
        chunk = slice(chunk_start, chunk_start + chunk_rows)
        logits = functional.linear(hidden[chunk], weight, bias)
        for start, block_logits in zip(
            range(chunk_start, num_rows, block_rows), logits.split(block_rows), strict=False
        ):
            block = slice(start, start + len(block_logits))
            learnt = _learn(block_logits, block, task, scratch)
            nlls[block], log_sums[block] = learnt.nll, learnt.log_sum
            distance += learnt.distance
            if to_bias is not None:
                to_bias += learnt.gradient.sum(0)
        if task.with_gradient:  # its logits have become their gradient
            to_hidden[chunk] = logits @ weight
            share = logits.t() @ hidden[chunk]
            to_weight = share.to(exact) if to_weight is None else to_weight.add_(share)
    losses = (1 - label_smoothing) * nlls + label_smoothing * (log_sums - mean_logit)
    if row_weights is not None:
        losses *= row_weights
    found = RowLosses(losses.sum() + task.disagreement * distance, nlls.sum())
    if to_weight is None:
        return found, None
    if label_smoothing:
        counts = torch.ones_like(losses) if row_weights is None else row_weights.to(exact)
        to_hidden -= label_smoothing * counts[:, None] * mean_weight
        to_weight -= (counts @ hidden.to(exact)) * (label_smoothing / vocabulary)
        if to_bias is not None:
            to_bias -= counts.sum() * label_smoothing / vocabulary
    return found, _Gradients(to_hidden, to_weight, to_bias)


def _rows_of_products_and_softmax(task: _Task, vocabulary: int, on_gpu: bool) -> tuple[int, int]:
    """On a CPU products want many rows, but the softmax few enough to stay in the cache; its memory is made once."""
    chunk_rows, block_rows = task.chunk_rows, task.chunk_rows if on_gpu else max(1, CPU_PROBABILITIES // vocabulary)
    if task.disagreement:  # pairs stay together
        return max(2, chunk_rows - chunk_rows % 2), max(2, block_rows - block_rows % 2)
    return chunk_rows, block_rows


class _Learnt(NamedTuple):
    """Of a few rows. `gradient` is that of their logits, less that of the logits' mean over the vocabulary."""

    nll: Tensor
    log_sum: Tensor
    distance: Tensor
    gradient: Tensor


def _learn(logits: Tensor, rows: slice, task: _Task, scratch: Tensor | None) -> _Learnt:
    """What these rows lose; the gradient replaces `logits`."""
    if scratch is None:
        probs = logits.softmax(-1, dtype=torch.promote_types(logits.dtype, torch.float32))
        exact_logits = logits
    else:
        exact_logits, probs = scratch[:, : len(logits)]
        torch.softmax(exact_logits.copy_(logits), -1, out=probs)
    columns = task.labels[rows, None]
    # The largest probability is exp(max - log_sum); it is never smaller than 1 / vocabulary.
    log_sum = exact_logits.amax(1).to(probs.dtype) - probs.amax(1).log()
    nll = log_sum - exact_logits.gather(1, columns).squeeze(1)
    gradient, distance = probs, nll.new_zeros(())
    if task.disagreement:
        gradient, distance = _disagree(exact_logits.to(probs.dtype), probs, weight=task.disagreement)
    if task.with_gradient:
        gradient.scatter_add_(1, columns, gradient.new_full(columns.shape, task.label_smoothing - 1))
        if task.row_weights is not None:
            gradient *= task.row_weights[rows, None]
        logits.copy_(gradient)
    return _Learnt(nll, log_sum, distance, gradient)


def _disagree(logits: Tensor, probs: Tensor, *, weight: float) -> tuple[Tensor, Tensor]:
    """`probs` and `weight` times the gradient of the sum over pairs of KL(p || q) + KL(q || p); and that sum.

    With d = log p/q the gradient of p's logits is p (d - E_p[d]) + p - q, that of q's the same the other way round.
    In it the log sums of d cancel, so d may be the logits' difference. The result takes the place of `logits`.
    """
    p, q = probs[::2], probs[1::2]
    first, second = logits[::2], logits[1::2]
    difference = first.sub_(second)
    mean_p, mean_q = torch.linalg.vecdot(probs.unflatten(0, (-1, 2)), difference[:, None]).unbind(1)
    distance = (mean_p - mean_q).sum()
    torch.sub((1 + weight + weight * mean_q)[:, None], difference, alpha=weight, out=second)
    torch.add((1 + weight - weight * mean_p)[:, None], difference, alpha=weight, out=first)
    first.mul_(p).sub_(q, alpha=weight)
    second.mul_(q).sub_(p, alpha=weight)
    return logits, distance
