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
        probs, order = cut(log_probs, temperature=self._temperature, top_k=self._top_k, top_p=self._top_p)
        cumulative = probs.cumsum(-1)
        point = self._uniform[sentences, step].unsqueeze(-1) * cumulative[..., -1:]
        place = torch.searchsorted(cumulative, point, right=True).clamp(max=probs.size(-1) - 1)
        return (place if order is None else order.gather(-1, place)).squeeze(-1)


def cut(
    log_probs: Float[Tensor, "... vocabulary"], *, temperature: float, top_k: int, top_p: float
) -> tuple[Float[Tensor, "... kept"], Int[Tensor, "... kept"] | None]:
    """The weights with which tokens are drawn, in double precision, and which tokens they are; None: all, in order.

    What is cut off has 0; what is left does not sum to 1.
    """
    probs = (log_probs.double() / temperature).softmax(-1)
    if not top_k and top_p >= 1:
        return probs, None
    probs, order = probs.topk(min(top_k or probs.size(-1), probs.size(-1)))
    before = (probs / probs.sum(-1, keepdim=True)).cumsum(-1).roll(1, -1)
    before[..., 0] = 0
    return probs.masked_fill(before >= top_p, 0), order


def chances(
    log_probs: Float[Tensor, "... vocabulary"], *, temperature: float, top_k: int, top_p: float
) -> Float[Tensor, "... vocabulary"]:
    """With what probability each token is drawn."""
    probs, order = cut(log_probs, temperature=temperature, top_k=top_k, top_p=top_p)
    probs = probs / probs.sum(-1, keepdim=True)
    return probs if order is None else torch.zeros_like(log_probs, dtype=probs.dtype).scatter(-1, order, probs)
