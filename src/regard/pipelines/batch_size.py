"""`training.batch_tokens: auto`: the batch that fits into the memory of the device."""

import copy

import numpy as np
import torch

from regard.data.abstract_store import Store
from regard.data.batching import CPU_BATCH_TOKENS, collate, largest_batch_tokens
from regard.protocol import Model
from regard.training.loss import sequence_loss
from regard.training.numerics import autocast, resolve_precision

# Fewer updates an epoch than this, and a small corpus is hardly learnt from, however well the batch fits.
LEAST_STEPS_AN_EPOCH = 50
SHARE_OF_MEMORY = 0.8
BYTES_OF_MOMENTS = 8  # Adam's two moments, in float32


def find_batch_tokens(store: Store, model: Model, precision: str, *, readings: int = 1) -> int:
    """On a GPU the most tokens of which a batch fits, and an epoch still has 50 steps; on a CPU a number that is fast.

    A step reads its batch `readings` times at once.

    Raises:
        DataError: not even the smallest batch fits.
    """
    device = next(model.parameters()).device
    if device.type != "cuda":
        return CPU_BATCH_TOKENS
    probe = copy.deepcopy(model).train()
    kind = resolve_precision("bf16" if precision == "bf16" else "fp32", device)
    moments = BYTES_OF_MOMENTS * sum(parameter.numel() for parameter in probe.parameters())
    longest = np.maximum(store.source_lengths, store.target_lengths)
    row = int(longest.argmax())

    def attempt(tokens: int) -> int:
        """Peak memory of a step on a batch that is full with the longest pair of the corpus."""
        batch = collate(store, np.full(readings * max(1, tokens // int(longest[row])), row, np.int64)).to(device)
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        with autocast(kind, device):
            loss = sequence_loss(probe(batch), batch.labels)  # noqa: F821  it is deleted after the last attempt
        loss.total.backward()
        probe.zero_grad(set_to_none=True)  # noqa: F821
        return torch.cuda.max_memory_allocated(device) + moments

    limit = int(SHARE_OF_MEMORY * torch.cuda.mem_get_info(device)[0])
    tokens = largest_batch_tokens(attempt, limit=limit)
    del probe
    torch.cuda.empty_cache()
    return min(tokens, max(512, int(longest.sum()) // LEAST_STEPS_AN_EPOCH))
