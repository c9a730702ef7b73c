"""A model whose every next-token distribution is a random row of a table, chosen by all that came before."""

import itertools
import math

import torch
from torch import Tensor

from regard.protocol import State
from regard.symbols import BOS, EOS, PAD

PLACES = 9973


class TableModel:
    """Depends on the whole history, so that one wrong parent anywhere gives another score."""

    def __init__(self, seed: int, vocabulary: int = 6, spread: float = 2.0) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.vocabulary = vocabulary
        self.table = torch.randn(PLACES, vocabulary, generator=generator) * spread
        self.exact = self.table.double().log_softmax(-1).tolist()

    def encode(self, source: Tensor, record=None) -> State:
        return State(source, torch.ones(source.size(0), dtype=torch.long))

    def step(self, state: State, tokens: Tensor, record: object = None) -> tuple[Tensor, State]:
        beams = tokens.size(0) // state.memory.size(0)
        history = (state.carry * 31 + tokens) % PLACES
        place = (history * 7 + _fingerprint(state.memory).repeat_interleave(beams)) % PLACES
        return self.table[place], State(state.memory, history)

    def token_scores(self, source: Tensor, tokens: list[int]) -> list[float]:
        """Teacher-forced rescoring that shares no code with `step`'s bookkeeping."""
        said = [BOS, *tokens, EOS]
        return [self.following(source, said[1:place])[said[place]] for place in range(1, len(said))]

    def following(self, source: Tensor, tokens: list[int]) -> list[float]:
        """Log-probabilities of what comes after `tokens`."""
        history = 1
        for token in [BOS, *tokens]:
            history = (history * 31 + token) % PLACES
        return self.exact[(history * 7 + int(_fingerprint(source[None])[0])) % PLACES]

    def plain_beam(self, source: Tensor, *, beam_size: int, limit: int, alpha: float) -> list[list[int]]:
        """Beam search as on paper: lists, and no stop before the limit. Best first."""
        living, finished = [(0.0, [])], {}
        for length in range(limit + 1):
            candidates = sorted(
                (
                    (score + step, said, token)
                    for score, said in living
                    for token, step in enumerate(self.following(source, said))
                    if token not in (PAD, BOS) and (token == EOS or length < limit)
                ),
                key=lambda candidate: -candidate[0],
            )
            for score, said, token in candidates[:beam_size]:
                if token == EOS:
                    finished[tuple(said)] = score / ((6 + length) / 6) ** alpha
            living = [(score, [*said, token]) for score, said, token in candidates if token != EOS][:beam_size]
        return [list(said) for said in sorted(finished, key=lambda said: -finished[said])]

    def all_outputs(self, source: Tensor, limit: int, alpha: float, kind: str = "gnmt") -> list[list[int]]:
        """Every permitted output of at most `limit` tokens, best first."""
        words = [token for token in range(self.vocabulary) if token not in (PAD, BOS, EOS)]
        outputs = [list(o) for n in range(limit + 1) for o in itertools.product(words, repeat=n)]
        penalty = {
            "gnmt": lambda length: ((5 + length) / 6) ** alpha,
            "length": lambda length: length**alpha,
        }[kind]
        scores = {tuple(o): math.fsum(self.token_scores(source, o)) / penalty(len(o) + 1) for o in outputs}
        return sorted(outputs, key=lambda output: -scores[tuple(output)])


def _fingerprint(source: Tensor) -> Tensor:
    """Of every row; padding does not count."""
    places = torch.arange(1, source.size(1) + 1)
    return ((source * places * 131) * (source != PAD)).sum(-1)


def sources(count: int, seed: int, *, longest: int = 9, vocabulary: int = 12) -> list[list[int]]:
    """Random sentences that end in EOS."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, longest + 1, (count,), generator=generator).tolist()
    return [[*torch.randint(EOS + 1, vocabulary, (n,), generator=generator).tolist(), EOS] for n in lengths]


def padded(rows: list[list[int]]) -> Tensor:
    longest = max(map(len, rows))
    return torch.tensor([[*row, *[PAD] * (longest - len(row))] for row in rows])
