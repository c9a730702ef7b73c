"""Hard attention: the context is one value, s ~ Multinoulli(weights), and not the mean of all (Xu et al. 2015, 4.1)."""

import torch
from torch import Tensor

from regard.attention.attention import Attention, Memory
from regard.attention.score import Score


class HardAttention(Attention):
    """Attention whose weights are 1 at one key and 0 elsewhere.

    While training the key is drawn with the probabilities softmax(scores), but with the chance 1 - `sampled` a query
    keeps these as its weights, which makes the gradient less noisy. In evaluation the likeliest key is taken, so that
    the same input gives the same output. The draw has no gradient: whoever trains with it adds the score function's,
    from the `scores` and `weights` of a record (`log_probability`).
    """

    takes_greatest = True

    def __init__(self, score: Score, *, site: str, sampled: float) -> None:
        super().__init__(score, site=site)
        self.sampled = sampled

    def _weigh(self, scores: Tensor) -> Tensor:
        weights = scores.softmax(-1)
        if not self.training:
            return _one_hot(weights.argmax(-1, keepdim=True), weights)
        chosen = _one_hot(self._draw(weights), weights)
        keeps = torch.rand_like(weights[..., :1]) >= self.sampled
        return torch.where(keeps, weights, chosen)

    def _draw(self, weights: Tensor) -> Tensor:
        """A key of every query, (batch, heads, queries, 1): the first of exponential clocks that run at these rates."""
        clocks = torch.empty_like(weights).exponential_()
        return (weights.detach() / clocks).argmax(-1, keepdim=True)

    def _fused_is_better(self, query: Tensor, memory: Memory) -> bool:
        return False


def log_probability(scores: Tensor, weights: Tensor) -> Tensor:
    """Log of the probability with which each drawn key was drawn, and 0 where nothing was drawn.

    `scores` and `weights` are (..., keys), as a record of `HardAttention` has them; the gradient goes to the scores.
    """
    drawn = weights.detach() == 1
    return scores.log_softmax(-1).masked_fill(~drawn, 0.0).sum(-1)


def _one_hot(places: Tensor, like: Tensor) -> Tensor:
    return torch.zeros_like(like).scatter_(-1, places, 1.0)
