import random

import pytest
import torch
from scipy.stats import chisquare
from table_model import TableModel, padded, sources

from regard.decoding.sampling import Sampler
from regard.decoding.search import SearchConfig, search

ROWS = sources(40, 5)


def draw(log_probs: list[float], num: int, **settings) -> torch.Tensor:
    """How often each token was drawn."""
    settings = {"seed": 1, "device": torch.device("cpu"), **settings}
    sampler = Sampler([0], num=num, steps=1, **settings)
    drawn = sampler(torch.tensor(log_probs).expand(1, num, -1), 0, torch.tensor([0]))
    return torch.bincount(drawn.flatten(), minlength=len(log_probs))


PROBS = torch.tensor([0.4, 0.05, 0.25, 0.2, 0.1]).double()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, PROBS),
        ({"temperature": 0.5}, PROBS**2),
        ({"temperature": 2.0}, PROBS**0.5),
        ({"top_k": 3}, PROBS * torch.tensor([1, 0, 1, 1, 0])),
        ({"top_p": 0.6}, PROBS * torch.tensor([1, 0, 1, 0, 0])),  # .4 + .25 is the first sum of at least .6
        ({"top_p": 0.66}, PROBS * torch.tensor([1, 0, 1, 1, 0])),
        ({"top_k": 4, "top_p": 0.5, "temperature": 0.5}, PROBS**2 * torch.tensor([1, 0, 0, 0, 0])),
        ({"top_p": 0.01}, PROBS * torch.tensor([1, 0, 0, 0, 0])),
    ],
)
def test_tokens_are_drawn_with_their_probabilities(settings, expected):
    counts = draw(PROBS.log().float().tolist(), 20_000, **settings)
    possible = expected > 0
    assert counts[~possible].sum() == 0
    if possible.sum() > 1:
        expected = expected[possible] / expected.sum() * 20_000
        assert chisquare(counts[possible].double().numpy(), expected.numpy()).pvalue > 1e-3


def test_a_forbidden_token_is_never_drawn():
    counts = draw([-torch.inf, 0.0, -torch.inf, -0.5, -torch.inf], 5_000)
    assert counts[[0, 2, 4]].sum() == 0
    assert (counts[[1, 3]] > 1000).all()


def outputs(model: TableModel, rows: list[int], size: int, **settings) -> dict[int, list]:
    config = SearchConfig(**{"sampling": True, "max_length_extra": 6, **settings})
    drawn = {}
    for start in range(0, len(rows), size):
        batch = rows[start : start + size]
        found = search(model, padded([ROWS[row] for row in batch]), config, rows=batch)
        drawn |= {row: [h.tokens for h in best] for row, best in zip(batch, found, strict=True)}
    return drawn


@pytest.mark.parametrize("n_best", [1, 4])
def test_what_is_drawn_depends_on_seed_and_row_alone(n_best):
    model = TableModel(3, vocabulary=9)
    rows = list(range(40))
    alone = outputs(model, rows, 1, n_best=n_best)
    assert outputs(model, rows, 40, n_best=n_best) == alone
    random.Random(1).shuffle(rows)
    assert outputs(model, rows, 7, n_best=n_best) == alone
    assert outputs(model, rows, 7, n_best=n_best, seed=2) != alone


def test_equal_sentences_in_different_rows_are_drawn_apart():
    model = TableModel(3, vocabulary=9)
    same = padded([ROWS[0]] * 20)
    found = search(model, same, SearchConfig(sampling=True))
    assert len({tuple(best[0].tokens) for best in found}) > 5


def test_samples_are_scored_by_the_model_itself_and_stop_at_the_limit():
    model = TableModel(3, vocabulary=9)
    config = SearchConfig(sampling=True, n_best=5, temperature=1.7, top_k=5, max_length=6)
    for row, best in zip(ROWS, search(model, padded(ROWS), config), strict=True):
        assert len(best) == 5
        assert [h.normalised for h in best] == sorted((h.normalised for h in best), reverse=True)
        for h in best:
            assert len(h.tokens) <= 6
            assert h.token_scores == pytest.approx(model.token_scores(torch.tensor(row), h.tokens), abs=1e-5)


def test_the_best_one_of_one_is_greedy():
    model = TableModel(3, vocabulary=9)
    sampled = outputs(model, list(range(40)), 40, top_k=1)
    greedy = search(model, padded(ROWS), SearchConfig(beam_size=1, max_length_extra=6))
    assert [sampled[row] for row in range(40)] == [[best[0].tokens] for best in greedy]
