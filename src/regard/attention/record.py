"""Looking at attention: a record is handed down by the caller and keeps the very tensors that were used."""

from collections import defaultdict
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class Looked(NamedTuple):
    """One call of one attention: what was scored, how it was weighed, and what came out."""

    scores: Float[Tensor, "batch heads queries keys"]
    weights: Float[Tensor, "batch heads queries keys"]
    context: Float[Tensor, "batch heads queries size"]


class AttentionRecord:
    """Collects `Looked` by site, such as `decoder.3.cross`; pass one as `record=` to any model.

    Nothing is copied: the tensors are those that made the output. A teacher-forced pass adds one entry a
    site; step-wise decoding adds one a step, in order.
    """

    def __init__(self) -> None:
        self._looked: dict[str, list[Looked]] = defaultdict(list)
        self._glimpses: list[Tensor] = []

    def add(self, site: str, scores: Tensor, weights: Tensor, context: Tensor) -> None:
        """Called by `Attention`; `scores` are masked (real -inf) and before the softmax."""
        self._looked[site].append(Looked(scores, weights, context))

    def add_glimpse(self, boxes: Float[Tensor, "batch scales 4"]) -> None:
        """Called by a model that looks at parts of a picture: (top, left, height, width) of each, in pixels."""
        self._glimpses.append(boxes)

    @property
    def has_glimpses(self) -> bool:
        """Whether the model looked at parts of a picture."""
        return bool(self._glimpses)

    @property
    def glimpses(self) -> Float[Tensor, "batch steps scales 4"]:
        """The boxes of all glimpses, in the order in which they were taken.

        Raises:
            ValueError: there was none.
        """
        if not self._glimpses:
            raise ValueError("no glimpse was taken: the model sees whole sources")
        return torch.stack(self._glimpses, 1)

    def add_steps(self, steps: "AttentionRecord") -> None:
        """Every site of `steps`, its calls joined to one: a pass that had to go query by query is still one pass."""
        for site in steps.sites:
            self.add(site, *(torch.cat(queries, 2) for queries in zip(*steps.calls(site), strict=True)))

    @property
    def sites(self) -> list[str]:
        """Names of the attentions that were used, in the order of their first use."""
        return list(self._looked)

    def calls(self, site: str) -> list[Looked]:
        """Every call at `site`, first to last."""
        return self._looked.get(site, [])

    def weights(self, site: str) -> Float[Tensor, "batch heads queries keys"]:
        """The weights of the only call at `site` (a teacher-forced pass).

        Raises:
            ValueError: the site was used more than once, or never.
        """
        calls = self._looked.get(site, [])
        if len(calls) != 1:
            raise ValueError(f"site {site!r} was used {len(calls)} times; recorded sites: {self.sites}")
        return calls[0].weights
