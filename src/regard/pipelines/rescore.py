"""How probable given outputs are: teacher forcing instead of search."""

from collections.abc import Sequence

import torch
from torch import Tensor

from regard.data.batching import pad
from regard.decoding.beam import Hypothesis
from regard.decoding.ensemble import log_mean
from regard.decoding.penalties import LengthPenalty
from regard.pipelines.generate import BATCH_SIZE
from regard.protocol import Batch, Model
from regard.symbols import BOS, EOS

# Logits that may exist at a time, in numbers: 256 MB.
MAX_LOGITS = 1 << 26


@torch.inference_mode()
def rescore(
    models: Sequence[Model],
    pairs: Sequence[tuple[Sequence[int], Sequence[int]]],
    *,
    penalty: LengthPenalty,
    batch_size: int = BATCH_SIZE,
) -> list[Hypothesis]:
    """The scores of `pairs` (source ids ending in `EOS`, target ids without `BOS` and `EOS`), in their order.

    Several models are an ensemble: their probabilities are averaged.
    """
    order = sorted(range(len(pairs)), key=lambda row: -len(pairs[row][0]) - len(pairs[row][1]))
    device = next(models[0].parameters()).device
    scored: dict[int, Hypothesis] = {}
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        batch = Batch(pad([pairs[row][0] for row in rows]), pad([[BOS, *pairs[row][1], EOS] for row in rows]))
        scores = _token_scores(models, batch.to(device)).tolist()
        for row, token_scores in zip(rows, scores, strict=True):
            tokens = list(pairs[row][1])
            steps = token_scores[: len(tokens) + 1]
            normalised = penalty(torch.tensor(sum(steps), dtype=torch.double), torch.tensor(len(steps))).item()
            scored[row] = Hypothesis(tokens, sum(steps), normalised, steps)
    return [scored[row] for row in range(len(pairs))]


def _token_scores(models: Sequence[Model], batch: Batch) -> Tensor:
    """Log-probability of every label, (batch, target_length); what stands at padding means nothing."""
    outputs = [model(batch) for model in models]
    vocabulary = outputs[0].readout.weight.size(0)
    columns = max(1, MAX_LOGITS // (vocabulary * batch.labels.size(0) * len(models)))
    chunks = []
    for labels, *hidden in zip(
        batch.labels.split(columns, 1), *(output.hidden.split(columns, 1) for output in outputs), strict=True
    ):
        logits = [output.readout(states) for output, states in zip(outputs, hidden, strict=True)]
        own = [each.float().log_softmax(-1).gather(-1, labels.unsqueeze(-1)) for each in logits]
        chunks.append(log_mean(own).squeeze(-1))
    return torch.cat(chunks, 1)
