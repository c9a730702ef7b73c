"""Beam search over anything `Decodable`: it knows neither the model nor where the rules come from (Wu et al. 2016)."""

from bisect import insort
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from regard.protocol import Decodable, State
from regard.symbols import BOS, EOS
from regard.trees import select_rows

# Tokens that `_best` looks at together.
BLOCK = 64


class Rules(NamedTuple):
    """What every search must obey, handed to it from outside.

    `constrain` gets the log-probabilities of the next token, the tokens so far, and which sentences of the batch
    these are; it sets what is forbidden to -inf (in place if it likes). After `limits` tokens it must forbid
    everything but `EOS`. `normalise` turns summed log-probabilities and numbers of tokens (with `EOS`) into the
    scores that rank finished hypotheses. `bonus`, never positive, is added to that; it sees the state.
    With `hasty`, a living hypothesis is given up if ended now it would be too bad, though longer it might not be.
    """

    limits: Int[Tensor, " batch"]
    constrain: Callable[[Tensor, Tensor, Tensor], Tensor]
    normalise: Callable[[Tensor, Tensor], Tensor]
    bonus: Callable[[State], Float[Tensor, " rows"]] | None = None
    hasty: bool = False


class Hypothesis(NamedTuple):
    """One output: ids without `BOS` and `EOS`.

    `score` is the natural log of its probability, `EOS` included: the sum of `token_scores`, of which there is
    one more than `tokens`. `normalised` is the score after length and coverage penalties, the one that ranks.
    """

    tokens: list[int]
    score: float
    normalised: float
    token_scores: list[float]


class Candidates(NamedTuple):
    """The best continuations of every sentence in one step, best first; what a trace is given to see."""

    sentences: Int[Tensor, " sentences"]
    parents: Int[Tensor, "sentences candidates"]
    tokens: Int[Tensor, "sentences candidates"]
    scores: Float[Tensor, "sentences candidates"]  # of the whole hypothesis
    steps: Float[Tensor, "sentences candidates"]  # of the token alone
    ended: Tensor  # (sentences, candidates): finished in this step
    kept: Tensor  # (sentences, beams): places among the candidates of those that live on
    history: Int[Tensor, "sentences parents length"]  # what the parents had said


class Beam(NamedTuple):
    """The living hypotheses of the sentences that are not done; within a sentence best first."""

    sentences: Int[Tensor, " sentences"]
    tokens: Int[Tensor, "sentences beams length"]
    steps: Float[Tensor, "sentences beams length"]  # log-probability of every token
    scores: Float[Tensor, "sentences beams"]  # and of them all

    def advance(self, candidates: Candidates) -> "Beam":
        """Those of the candidates that live on."""
        parents, tokens, steps, scores = (
            field.gather(1, candidates.kept)
            for field in (candidates.parents, candidates.tokens, candidates.steps, candidates.scores)
        )
        index = parents.unsqueeze(-1).expand(-1, -1, self.tokens.size(-1))
        return Beam(
            self.sentences,
            torch.cat([self.tokens.gather(1, index), tokens.unsqueeze(-1)], -1),
            torch.cat([self.steps.gather(1, index), steps.unsqueeze(-1)], -1),
            scores.masked_fill(tokens == EOS, -torch.inf),  # a place that nobody could take
        )


class Finished:
    """The `n_best` best finished hypotheses of every sentence of the batch."""

    def __init__(self, batch: int, n_best: int, device: torch.device) -> None:
        self._n_best = n_best
        self.lists: list[list[Hypothesis]] = [[] for _ in range(batch)]  # best first
        self.worst = torch.full((batch,), -torch.inf, device=device)  # what a newcomer must beat

    def add(self, sentence: int, hypothesis: Hypothesis) -> None:
        """Keep it if it is among the best; of equal ones the earlier is the better."""
        best = self.lists[sentence]
        insort(best, hypothesis, key=lambda kept: -kept.normalised)
        del best[self._n_best :]
        if len(best) == self._n_best:
            self.worst[sentence] = best[-1].normalised


def beam_search(
    model: Decodable,
    source: Tensor,
    *,
    beam_size: int,
    n_best: int,
    rules: Rules,
    trace: Callable[[Candidates], None] | None = None,
) -> list[list[Hypothesis]]:
    """The `n_best` best outputs of every sentence.

    In each step the k beams of a sentence are expanded by every token. Of all these candidates the first k are
    looked at for `EOS`: such a hypothesis is finished (one that ends further down is dropped). The best k that
    do not end live on. A sentence is done when even its best living hypothesis, if it grew to its limit
    at no further cost, could not enter the n best: the result is that of never stopping (unless `rules` are hasty).
    It then leaves the batch.
    With a beam of vocabulary ** limit nothing is ever dropped, so that the search is exhaustive.
    """
    state = model.encode(source)
    batch, device = source.size(0), source.device
    beam = Beam(
        torch.arange(batch, device=device),
        torch.empty(batch, 1, 0, dtype=torch.long, device=device),
        torch.empty(batch, 1, 0, device=device),
        torch.zeros(batch, 1, device=device),
    )
    finished = Finished(batch, n_best, device)
    last_tokens = torch.full((batch,), BOS, device=device)
    while beam.sentences.numel():
        logits, state = model.step(state, last_tokens)
        log_probs = logits.float().log_softmax(-1).unflatten(0, beam.tokens.shape[:2])
        candidates = _expand(rules.constrain(log_probs, beam.tokens, beam.sentences), beam, beam_size)
        if trace is not None:
            trace(candidates)
        if candidates.ended.any():
            lengths = torch.full_like(candidates.tokens, beam.tokens.size(-1) + 1)
            ranked = rules.normalise(candidates.scores, lengths)
            if rules.bonus is not None:
                ranked = ranked + rules.bonus(state).unflatten(0, beam.tokens.shape[:2]).gather(1, candidates.parents)
            _collect(candidates, ranked, beam, finished)
        beam, state = _continue(candidates, beam, state, rules, finished)
        last_tokens = beam.tokens[..., -1].flatten()
    return finished.lists


def _expand(log_probs: Tensor, beam: Beam, beam_size: int) -> Candidates:
    """The best 2k continuations: enough, since at most k of them (one a beam) are ends."""
    scores, parents, tokens = _best(log_probs, beam.scores, 2 * beam_size)
    is_end = tokens == EOS
    ended = is_end & scores.isfinite()
    ended[:, beam_size:] = False
    kept = scores.masked_fill(is_end, -torch.inf).topk(min(beam_size, scores.size(1))).indices
    steps = log_probs.flatten(1).gather(1, parents * log_probs.size(-1) + tokens)
    return Candidates(beam.sentences, parents, tokens, scores, steps, ended, kept, beam.tokens)


def _best(log_probs: Tensor, scores: Tensor, num: int) -> tuple[Tensor, Tensor, Tensor]:
    """The `num` best continuations of every sentence: their scores, best first, their beams, their tokens.

    They lie in the `num` blocks of the vocabulary with the greatest maxima, so that topk, which is slow, sees
    little more than these (2.9 against 1.2 ms for 32 sentences, 5 beams and 8,000 tokens).
    """
    vocabulary = log_probs.size(-1)
    whole = vocabulary // BLOCK * BLOCK
    greatest = log_probs[..., :whole].unflatten(-1, (-1, BLOCK)).amax(-1)
    if whole < vocabulary:
        greatest = torch.cat([greatest, log_probs[..., whole:].amax(-1, keepdim=True)], -1)
    blocks = greatest.size(-1)
    chosen = (greatest + scores.unsqueeze(-1)).flatten(1).topk(min(num, greatest[0].numel())).indices
    parents = chosen // blocks  # (sentences, chosen)
    # (sentences, chosen, BLOCK)
    tokens = (chosen % blocks * BLOCK).unsqueeze(-1) + torch.arange(BLOCK, device=chosen.device)
    index = (parents * vocabulary).unsqueeze(-1) + tokens.clamp(max=vocabulary - 1)
    totals = log_probs.flatten(1).gather(1, index.flatten(1)).view_as(index) + scores.gather(1, parents).unsqueeze(-1)
    totals.masked_fill_(tokens >= vocabulary, -torch.inf)  # the last block may be short
    best, places = totals.flatten(1).topk(min(num, log_probs[0].numel()))
    # Where everything is forbidden, a place behind the last token is as good as anything; it must only be a token.
    tokens = tokens.flatten(1).gather(1, places).clamp(max=vocabulary - 1)
    return best, parents.gather(1, places // BLOCK), tokens


def _collect(candidates: Candidates, ranked: Tensor, beam: Beam, finished: Finished) -> None:
    """Put away what ended in this step, if it is good enough."""
    rows, places = (candidates.ended & (ranked > finished.worst[beam.sentences].unsqueeze(1))).nonzero(as_tuple=True)
    parents = candidates.parents[rows, places]
    steps = torch.cat([beam.steps[rows, parents], candidates.steps[rows, places].unsqueeze(1)], -1)
    tensors = (beam.sentences[rows], beam.tokens[rows, parents], ranked[rows, places], steps)
    for sentence, tokens, normalised, step_scores in zip(*(tensor.tolist() for tensor in tensors), strict=True):
        finished.add(sentence, Hypothesis(tokens, sum(step_scores), normalised, step_scores))


def _continue(candidates: Candidates, beam: Beam, state: State, rules: Rules, finished: Finished) -> tuple[Beam, State]:
    """Move beams and state to the candidates that live on; sentences that are done leave both."""
    parents = candidates.parents.gather(1, candidates.kept)
    rows = parents + torch.arange(parents.size(0), device=parents.device).unsqueeze(1) * beam.tokens.size(1)
    beam, memory = beam.advance(candidates), state.memory
    lengths = rules.limits[beam.sentences]
    if rules.hasty:
        lengths = torch.full_like(lengths, beam.tokens.size(-1))
    best_to_come = rules.normalise(beam.scores[:, 0], lengths + 1)
    going_on = best_to_come > finished.worst[beam.sentences]
    if not going_on.all():
        remaining = going_on.nonzero().squeeze(1)
        beam, rows, memory = select_rows((beam, rows, memory), remaining)
    return beam, State(memory, select_rows(state.carry, rows.flatten()))
