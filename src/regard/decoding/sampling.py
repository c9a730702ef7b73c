"""Drawing outputs: temperature, the k most probable (Fan et al. 2018), the nucleus of mass p (Holtzman et al. 2020)."""

from collections.abc import Sequence

import numpy
import torch
from jaxtyping import Float, Int
from torch import Tensor


class Sampler:
    """Draws the next token from softmax(log_probs / temperature), cut to `top_k` tokens and then to mass `top_p`.

    The random numbers of a sentence depend on (`seed`, its row) alone, so that neither batch size nor order
    changes what is drawn. They come from numpy, because a torch generator keeps only 32 bits of its seed.
    """

    def __init__(
        self,
        rows: Sequence[int],
        *,
        num: int,
        steps: int,
        seed: int,
        device: torch.device,
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
    ) -> None:
        drawn = [numpy.random.default_rng([seed, row]).random((steps, num)) for row in rows]
        self._uniform = torch.from_numpy(numpy.stack(drawn)).to(device)  # (sentences, steps, num)
        self._temperature = temperature
        self._top_k = top_k
        self._top_p = top_p

    def __call__(
        self, log_probs: Float[Tensor, "sentences num vocabulary"], step: int, sentences: Int[Tensor, " sentences"]
    ) -> Int[Tensor, "sentences num"]:
        """One token a hypothesis, by inverting the cumulative distribution at its random number."""
        probs = (log_probs.double() / self._temperature).softmax(-1)
        order = None
        if self._top_k or self._top_p < 1:
            probs, order = probs.topk(min(self._top_k or probs.size(-1), probs.size(-1)))
            before = (probs / probs.sum(-1, keepdim=True)).cumsum(-1).roll(1, -1)
            before[..., 0] = 0
            probs = probs.masked_fill(before >= self._top_p, 0)
        cumulative = probs.cumsum(-1)
        point = self._uniform[sentences, step].unsqueeze(-1) * cumulative[..., -1:]
        place = torch.searchsorted(cumulative, point, right=True).clamp(max=probs.size(-1) - 1)
        return (place if order is None else order.gather(-1, place)).squeeze(-1)
