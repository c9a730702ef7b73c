"""What a beam search looked at, kept as plain data for whoever wants to draw it."""

from typing import Literal, NamedTuple

from regard.decoding.beam import Candidates
from regard.symbols import EOS

Fate = Literal["kept", "finished", "outside the beam", "end outside the beam", "forbidden"]


class Choice(NamedTuple):
    """One continuation that was weighed in a step.

    `parent` counts the kept choices of the step before, from 0 (the first step has the one parent 0). `score`
    is the log-probability of the whole hypothesis, `token` is `EOS` where it wanted to end.
    """

    token: int
    parent: int
    score: float
    fate: Fate


class Trace:
    """Per sentence of the batch and step the best choices, best first: `trace.steps[sentence][step]`."""

    def __init__(self) -> None:
        self.steps: dict[int, list[list[Choice]]] = {}

    def __call__(self, candidates: Candidates) -> None:
        """Keep what the search shows of one step."""
        rows = zip(
            candidates.sentences.tolist(),
            candidates.tokens.tolist(),
            candidates.parents.tolist(),
            candidates.scores.tolist(),
            candidates.ended.tolist(),
            candidates.kept.tolist(),
            strict=True,
        )
        for sentence, tokens, parents, scores, ended, kept in rows:
            choices = [
                Choice(token, parent, score, _fate(token, score, end, place in set(kept)))
                for place, (token, parent, score, end) in enumerate(zip(tokens, parents, scores, ended, strict=True))
            ]
            self.steps.setdefault(sentence, []).append(choices)


def _fate(token: int, score: float, ended: bool, kept: bool) -> Fate:
    if score == float("-inf"):
        return "forbidden"
    if ended:
        return "finished"
    if token == EOS:
        return "end outside the beam"
    return "kept" if kept else "outside the beam"
