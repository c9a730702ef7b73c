"""Learning one batch by heart: the least that a model must be able to do."""

import torch

from checks.making import example
from regard.protocol import Batch, Model
from regard.symbols import BOS, PAD
from regard.training.loss import sequence_loss


def learned_by_heart(model: Model, *, updates: int = 150, learning_rate: float = 0.02) -> None:
    """Less than 0.01 nat a token after `updates`, and the greedy output is the target, word for word."""
    batch = example(source_lengths=(6, 3, 5, 4), target_lengths=(5, 7, 2, 6))
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)
    for _ in range(updates):
        loss = sequence_loss(model(batch), batch.labels)
        (loss.total / loss.num_tokens).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    assert float(loss.nll) / loss.num_tokens < 0.01
    real = batch.labels != PAD
    assert (greedy(model.eval(), batch)[real] == batch.labels[real]).all()


def greedy(model: Model, batch: Batch) -> torch.Tensor:
    """The likeliest word at every step, as many as there are labels."""
    state, tokens, said = model.encode(batch.source), torch.full((len(batch.source),), BOS), []
    with torch.inference_mode():
        for _ in range(batch.labels.size(1)):
            logits, state = model.step(state, tokens)
            tokens = logits.argmax(-1)
            said.append(tokens)
    return torch.stack(said, 1)
