"""Looking at attention: a record is handed down by the caller and keeps the very tensors that were used.

It can also be told to look elsewhere: an `Override` puts other weights in the place of one query's, which is how one
asks what would have been said if the model had looked at another word.
"""

from collections import defaultdict
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from regard.errors import UsageError


class Looked(NamedTuple):
    """One call of one attention: what was scored, how it was weighed, what came out, and of what all that was made."""

    scores: Float[Tensor, "batch heads queries keys"]
    weights: Float[Tensor, "batch heads queries keys"]
    context: Float[Tensor, "batch heads queries size"]
    query: Float[Tensor, "batch heads queries query_size"] | None = None
    keys: Float[Tensor, "batch heads keys projected"] | None = None  # as `Score.project_keys` left them
    values: Float[Tensor, "batch heads keys size"] | None = None


class Override(NamedTuple):
    """Weights to be used instead of the computed ones: of `head` at `site`, for query number `query` of the sentence.

    Of step-wise decoding the query's number is the step's. Keys beyond the given weights get none, and hidden ones
    cannot be given any.
    """

    site: str
    head: int
    query: int
    weights: Float[Tensor, " keys"]


class AttentionRecord:
    """Collects `Looked` by site, such as `decoder.3.cross`; pass one as `record=` to any model.

    Nothing is copied: the tensors are those that made the output. A teacher-forced pass adds one entry a
    site; step-wise decoding adds one a step, in order.
    """

    def __init__(self, override: Override | None = None) -> None:
        self.override = override
        self.was_overridden = False  # whether the query has been there
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
        self.was_overridden |= steps.was_overridden
        for site in steps.sites:
            calls = steps.calls(site)
            scores, weights, context = (
                torch.cat(parts, 2) for parts in zip(*(call[:3] for call in calls), strict=True)
            )
            queries = [call.query for call in calls if call.query is not None]
            query = torch.cat(queries, 2) if queries else None
            self._looked[site].append(Looked(scores, weights, context, query, calls[0].keys, calls[0].values))

    def instead(
        self,
        site: str,
        scores: Float[Tensor, "rows heads queries keys"],
        weights: Float[Tensor, "rows heads queries keys"],
    ) -> Tensor:
        """The weights to use: those given, but for a row that is overridden.

        Raises:
            UsageError: there is no such head, or the query cannot see a key that shall get weight.
        """
        override = self.override
        if override is None or override.site != site:
            return weights
        row = override.query - sum(call.weights.size(2) for call in self.calls(site))
        if not 0 <= row < weights.size(2):
            return weights
        if override.head >= weights.size(1):
            raise UsageError(f"{site} has the heads 0 to {weights.size(1) - 1}, not {override.head}")
        self.was_overridden = True
        given = weights.new_zeros(max(weights.size(3), override.weights.numel()))
        given[: override.weights.numel()] = override.weights
        visible, beyond = given.split([weights.size(3), given.numel() - weights.size(3)])
        hidden = scores[:, override.head, row].isneginf() & (visible > 0)
        if hidden.any() or (beyond > 0).any():
            raise UsageError(
                f"query {override.query} of {site} cannot look there: that key is hidden from it, or not there"
            )
        weights = weights.clone()
        weights[:, override.head, row] = visible
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
