"""What if it had looked elsewhere? A record that puts other weights in the place of one query's."""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from regard.attention.record import AttentionRecord
from regard.errors import UsageError


class Override(NamedTuple):
    """Weights to be used instead of the computed ones: of `head` at `site`, for query number `query` of the sentence.

    Of step-wise decoding the query's number is the step's. Keys beyond the given weights get none, and hidden ones
    cannot be given any.
    """

    site: str
    head: int
    query: int
    weights: Float[Tensor, " keys"]


class OverridingRecord(AttentionRecord):
    """Records as ever, and overrides one row."""

    def __init__(self, override: Override) -> None:
        super().__init__()
        self.override = override
        self.was_overridden = False  # whether the query has been there

    def for_steps(self) -> AttentionRecord:
        """One that overrides the same row."""
        return OverridingRecord(self.override)

    def add_steps(self, steps: AttentionRecord) -> None:
        """As ever."""
        super().add_steps(steps)
        if isinstance(steps, OverridingRecord):
            self.was_overridden |= steps.was_overridden

    def instead(self, site: str, scores: Tensor, weights: Tensor) -> Tensor:
        """The weights to use: those that were computed, but for the row that is overridden.

        Raises:
            UsageError: there is no such head, or the query cannot see a key that shall get weight.
        """
        _, head, query, given = self.override
        row = query - sum(call.weights.size(2) for call in self.calls(site))
        if self.override.site != site or not 0 <= row < weights.size(2):
            return weights
        if head >= weights.size(1):
            raise UsageError(f"{site} has the heads 0 to {weights.size(1) - 1}, not {head}")
        self.was_overridden = True
        num_keys = weights.size(3)
        visible, beyond = weights.new_zeros(num_keys), given[num_keys:]
        visible[: given.numel()] = given[:num_keys]
        if (beyond > 0).any() or (scores[:, head, row].isneginf() & (visible > 0)).any():
            raise UsageError(f"query {query} of {site} cannot look there: that key is hidden from it, or not there")
        weights = weights.clone()
        weights[:, head, row] = visible
        return weights

    def check_used(self) -> None:
        """Whether the query was ever there.

        Raises:
            UsageError: it was not.
        """
        if not self.was_overridden:
            _, _, query, _ = self.override
            raise UsageError(f"there is no query {query} at {self.override.site}; they are counted from 0")


def record_of(override: Override | None) -> AttentionRecord:
    """A record that overrides, if something shall be."""
    return AttentionRecord() if override is None else OverridingRecord(override)
