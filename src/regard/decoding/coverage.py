"""GNMT's coverage penalty: an output that never looked at part of its source is worth less (Wu et al. 2016, 7)."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from regard.attention.record import AttentionRecord
from regard.errors import UsageError
from regard.protocol import Decodable, State
from regard.symbols import PAD

# A source position without any attention costs beta * 23, not infinity: hypotheses must stay comparable.
LEAST_COVERAGE = 1e-10


class _LastLooks(AttentionRecord):
    """Remembers the last look at the source of each member of an ensemble, which come one after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.of_members: list[Tensor] = []

    def for_steps(self) -> AttentionRecord:
        """A member's own."""
        return AttentionRecord()

    def add_steps(self, steps: AttentionRecord) -> None:
        """A member has made its step."""
        self.of_members += _last_look(steps)


def _last_look(record: AttentionRecord) -> list[Tensor]:
    """Weights of the last encoder-decoder attention of one step, if there is any."""
    sites = [site for site in record.sites if site.endswith(".cross")]
    return [record.calls(sites[-1])[-1].weights] if sites else []


class WithCoverage:
    """A model that also remembers, with every hypothesis, how much attention each source position has got.

    cp(X; Y) = beta * sum_i log(min(sum_j p_ij, 1)), over all source positions i, `EOS` among them, and all steps
    j. p is the mean over the heads of the last encoder-decoder attention, in an ensemble over its members too.
    """

    def __init__(self, model: Decodable, beta: float) -> None:
        self._model = model
        self._beta = beta

    def encode(self, source: Tensor, record: AttentionRecord | None = None) -> State:
        """The model's own state, and that nothing has been looked at yet.

        Raises:
            UsageError: the source is a picture.
        """
        if source.is_floating_point():
            raise UsageError("coverage_penalty is for texts: a picture need not be looked at everywhere")
        memory, carry = self._model.encode(source, record)
        nothing = torch.zeros(source.shape, device=source.device)
        return State((memory, source != PAD), (carry, nothing))

    def step(
        self, state: State, tokens: Int[Tensor, " rows"], record: AttentionRecord | None = None
    ) -> tuple[Float[Tensor, "rows vocabulary"], State]:
        """The model's own step, watched."""
        (memory, real), (carry, coverage) = state
        looks = _LastLooks()
        logits, following = self._model.step(State(memory, carry), tokens, looks)
        found = looks.of_members or _last_look(looks)
        if not found:
            raise UsageError("coverage_penalty needs a model whose decoder attends to the source; this one does not")
        # Beams may have been folded into the queries; either way the rows come out in their own order.
        coverage = coverage + torch.stack([weights.mean(1).reshape(coverage.shape) for weights in found]).mean(0)
        return logits, State((following.memory, real), (following.carry, coverage))

    def bonus(self, state: State) -> Float[Tensor, " rows"]:
        """cp(X; Y) of every hypothesis, never positive."""
        (_, real), (_, coverage) = state
        beams = coverage.size(0) // real.size(0)
        missing = coverage.clamp(min=LEAST_COVERAGE, max=1).log().unflatten(0, (-1, beams))
        return self._beta * missing.masked_fill(~real.unsqueeze(1), 0).sum(-1).flatten()
