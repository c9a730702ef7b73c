"""Looking at attention: a record is handed down by the caller and keeps the very tensors that were used.

It may also be one that puts other weights in the place of those that were computed (`regard.attention.override`).
"""

from collections import defaultdict
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class Looked(NamedTuple):
    """One call of one attention: what was scored, how it was weighed, what came out, and of what all that was made."""

    scores: Float[Tensor, "batch heads queries keys"]
    weights: Float[Tensor, "batch heads queries keys"]
    context: Float[Tensor, "batch heads queries size"]
    query: Float[Tensor, "batch heads queries query_size"] | None = None
    keys: Float[Tensor, "batch heads keys projected"] | None = None  # as `Score.project_keys` left them
    values: Float[Tensor, "batch heads keys size"] | None = None


class AttentionRecord:
    """Collects `Looked` by site, such as `decoder.3.cross`; pass one as `record=` to any model.

    Nothing is copied: the tensors are those that made the output. A teacher-forced pass adds one entry a
    site; step-wise decoding adds one a step, in order.
    """

    def __init__(self) -> None:
        self._looked: dict[str, list[Looked]] = defaultdict(list)
        self._glimpses: list[Tensor] = []
        self._answers: list[Tensor] = []

    def add(self, site: str, *looked: Tensor) -> None:
        """Called by `Attention` with the fields of `Looked`; `scores` are masked (real -inf) and before the softmax."""
        self._looked[site].append(Looked(*looked))

    def add_glimpse(self, boxes: Float[Tensor, "batch scales 4"], logits: Float[Tensor, "batch labels"]) -> None:
        """Called by a model that looks at parts of a picture: (top, left, height, width) of each, in pixels.

        `logits` are what it would answer if this glimpse were the last.
        """
        self._glimpses.append(boxes)
        self._answers.append(logits)

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

    @property
    def answers(self) -> Float[Tensor, "batch steps labels"]:
        """The logits after each glimpse.

        Raises:
            ValueError: there was none.
        """
        if not self._answers:
            raise ValueError("no glimpse was taken: the model sees whole sources")
        return torch.stack(self._answers, 1)

    def add_steps(self, steps: "AttentionRecord") -> None:
        """Every site of `steps`, its calls joined to one: a pass that had to go query by query is still one pass.

        They all asked the same memory.
        """
        for site in steps.sites:
            calls = steps.calls(site)
            scores, weights, context = (
                torch.cat(parts, 2) for parts in zip(*(call[:3] for call in calls), strict=True)
            )
            queries = [call.query for call in calls if call.query is not None]
            query = torch.cat(queries, 2) if queries else None
            self._looked[site].append(Looked(scores, weights, context, query, calls[0].keys, calls[0].values))

    def for_steps(self) -> "AttentionRecord":
        """An empty record of the same kind, for the steps of a pass, which `add_steps` joins."""
        return AttentionRecord()

    def instead(self, site: str, scores: Tensor, weights: Tensor) -> Tensor:
        """The weights to use, given those that were computed, (rows, heads, queries, keys): these very ones."""
        return weights

    @property
    def sites(self) -> list[str]:
        """Names of the attentions that were used, in the order of their first use."""
        return list(self._looked)

    def calls(self, site: str) -> list[Looked]:
        """Every call at `site`, first to last."""
        return self._looked.get(site, [])

    def looked(self, site: str) -> Looked:
        """The only call at `site` (a teacher-forced pass).

        Raises:
            ValueError: the site was used more than once, or never.
        """
        calls = self.calls(site)
        if len(calls) != 1:
            raise ValueError(f"site {site!r} was used {len(calls)} times; recorded sites: {self.sites}")
        return calls[0]

    def weights(self, site: str) -> Float[Tensor, "batch heads queries keys"]:
        """The weights of the only call at `site`.

        Raises:
            ValueError: the site was used more than once, or never.
        """
        return self.looked(site).weights
