"""Search without a choice to take back: one token a step and hypothesis, the best one (greedy) or a drawn one."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from regard.protocol import Decodable, State
from regard.symbols import BOS, EOS, PAD
from regard.trees import select_rows

# (log_probs (sentences, hypotheses, vocabulary), step, which sentences) -> tokens (sentences, hypotheses)
Pick = Callable[[Tensor, int, Tensor], Tensor]


def best_token(log_probs: Tensor, step: int, sentences: Tensor) -> Int[Tensor, "sentences hypotheses"]:
    """The most probable token; of equal ones the first."""
    return log_probs.argmax(-1)


class Followed(NamedTuple):
    """One output: ids without `BOS` and `EOS`, and the natural-log probabilities of them and of `EOS`."""

    tokens: list[int]
    token_scores: list[float]


def follow(
    model: Decodable, source: Tensor, *, num: int, pick: Pick, constrain: Callable[[Tensor, Tensor, Tensor], Tensor]
) -> list[list[Followed]]:
    """`num` outputs of every sentence, each by following `pick` from `BOS` to `EOS`.

    `constrain` is that of `regard.decoding.beam.Rules`; it must see to it that all outputs end. A sentence whose
    outputs have all ended leaves the batch.
    """
    state = model.encode(source)
    batch, device = source.size(0), source.device
    sentences = torch.arange(batch, device=device)
    state = State(state.memory, select_rows(state.carry, sentences.repeat_interleave(num))) if num > 1 else state
    tokens = torch.empty(batch, num, 0, dtype=torch.long, device=device)
    scores = torch.empty(batch, num, 0, device=device)
    alive = torch.ones(batch, num, dtype=torch.bool, device=device)
    last_tokens = torch.full((batch * num,), BOS, device=device)
    outputs: list[list[Followed]] = [[] for _ in range(batch)]
    while sentences.numel():
        logits, state = model.step(state, last_tokens)
        log_probs = logits.float().log_softmax(-1).unflatten(0, (-1, num))
        log_probs = constrain(log_probs, tokens, sentences)
        chosen = pick(log_probs, tokens.size(-1), sentences)
        scores = torch.cat([scores, log_probs.gather(-1, chosen.unsqueeze(-1))], -1)
        tokens = torch.cat([tokens, chosen.masked_fill(~alive, PAD).unsqueeze(-1)], -1)
        alive = alive & (chosen != EOS)
        going_on = alive.any(-1)
        if not going_on.all():
            for row in (~going_on).nonzero().squeeze(1).tolist():
                outputs[int(sentences[row])] = _without_filling(tokens[row], scores[row])
            keep = going_on.nonzero().squeeze(1)
            rows = (keep.unsqueeze(1) * num + torch.arange(num, device=device)).flatten()
            state = State(select_rows(state.memory, keep), select_rows(state.carry, rows))
            sentences, tokens, scores, alive = select_rows((sentences, tokens, scores, alive), keep)
        last_tokens = tokens[..., -1].flatten()
    return outputs


def _without_filling(tokens: Tensor, scores: Tensor) -> list[Followed]:
    """What was said up to the first `EOS`; the rest was only there because other samples went on."""
    lengths = (tokens == EOS).long().argmax(-1).tolist()
    return [
        Followed(ids[:length], steps[: length + 1])
        for ids, steps, length in zip(tokens.tolist(), scores.tolist(), lengths, strict=True)
    ]
