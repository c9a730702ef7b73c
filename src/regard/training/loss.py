"""What training minimises: cross entropy (see `regard.training.information`) of the targets."""

from typing import NamedTuple

from jaxtyping import Float, Int
from torch import Tensor

from regard.protocol import Output
from regard.symbols import PAD
from regard.training.chunked_cross_entropy import linear_cross_entropy


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
    disagreement: float = 0.0,
) -> Loss:
    """Cross entropy of all labels that are not `PAD`: sum of (1 - e) nll + e mean over the vocabulary of -log p.

    That is torch's convention of label smoothing e; tensor2tensor's and fairseq's spread e over the other
    V - 1 tokens only. `labels` may stay on the CPU while the output is on a GPU, which spares the GPU a wait.
    A batch without any label gives 0, not NaN. With `weights`, sentence b counts weights[b] times in `total`.
    With `disagreement` places 2i and 2i + 1 are two passes over one label, and `total` grows by so many times
    KL(p || q) + KL(q || p) of every such pair. Of a model with several voices it is their mean.
    """
    voices = output.voices
    if voices > 1:
        labels = labels.repeat(voices, 1)
        weights = None if weights is None else weights.repeat(voices)
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
        disagreement=disagreement,
    )
    if voices > 1:
        total, nll = total / voices, nll / voices
    if output.penalty is not None:
        total = total + output.penalty
    return Loss(total, nll, rows.numel() // voices)
