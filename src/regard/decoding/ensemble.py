"""Several models that speak as one: p(y) = mean of p_m(y); any architectures that share the target vocabulary."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from regard.attention.record import AttentionRecord
from regard.errors import UsageError
from regard.protocol import Decodable, State


class Ensemble:
    """Averages the probabilities, not their logarithms; an ensemble of one is that model, bit for bit.

    Its members must agree on the ids of sources and targets; that is for the caller to check.
    """

    def __init__(self, models: Sequence[Decodable]) -> None:
        if not models:
            raise ValueError("an ensemble needs at least one model")
        self._models = list(models)

    def encode(self, source: Tensor, record: AttentionRecord | None = None) -> State:
        """The states of all members, side by side."""
        states = [model.encode(source, record) for model in self._models]
        return State([state.memory for state in states], [state.carry for state in states])

    def step(
        self, state: State, tokens: Int[Tensor, " rows"], record: AttentionRecord | None = None
    ) -> tuple[Float[Tensor, "rows vocabulary"], State]:
        """Log p of the next token, on average over the members.

        Raises:
            UsageError: the members' target vocabularies differ in size.
        """
        steps = []
        for model, memory, carry in zip(self._models, state.memory, state.carry, strict=True):
            own = None if record is None else record.for_steps()
            steps.append(model.step(State(memory, carry), tokens, own))
            if record is not None and own is not None:
                record.add_steps(own)
        following = State([after.memory for _, after in steps], [after.carry for _, after in steps])
        if len(steps) == 1:
            return steps[0][0], following
        sizes = [logits.size(-1) for logits, _ in steps]
        if len(set(sizes)) > 1:
            raise UsageError(f"models of one ensemble must share a target vocabulary; theirs have {sizes} symbols")
        return log_mean([logits.float().log_softmax(-1) for logits, _ in steps]), following


def log_mean(log_probs: Sequence[Float[Tensor, "*shape"]]) -> Float[Tensor, "*shape"]:
    """Log of the mean of several models' probabilities, from their logarithms: logsumexp_m(log p_m) - log M."""
    return torch.stack(list(log_probs)).logsumexp(0) - math.log(len(log_probs))
