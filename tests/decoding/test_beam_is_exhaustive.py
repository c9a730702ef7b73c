import pytest
from table_model import TableModel, padded, sources

from regard.decoding.search import SearchConfig, search

LIMIT = 3
PENALTIES = [(0.0, "gnmt"), (0.6, "gnmt"), (1.0, "length"), (2.5, "gnmt")]


def wide(limit: int = LIMIT, **settings) -> SearchConfig:
    """A beam of |V| ** limit."""
    beam_size = 6**limit
    return SearchConfig(beam_size=beam_size, max_length_factor=0.0, max_length_extra=limit, **settings)


@pytest.mark.parametrize("seed", range(100))
def test_a_wide_beam_finds_all_outputs_in_order(seed):
    alpha, kind = PENALTIES[seed % len(PENALTIES)]
    model, source = TableModel(seed), padded(sources(2, seed))
    expected = [model.all_outputs(row, LIMIT, alpha, kind) for row in source]
    config = wide(n_best=len(expected[0]), length_penalty=alpha, length_normalisation=kind)
    found = search(model, source, config)
    assert [[hypothesis.tokens for hypothesis in best] for best in found] == expected


@pytest.mark.parametrize("n_best", [1, 2, 7, 40])
def test_stopping_early_changes_nothing_in_the_n_best(n_best):
    for seed in range(10):
        model, source = TableModel(seed), padded(sources(3, seed))
        best = search(model, source, wide(n_best=n_best, length_penalty=1.0))
        for row, hypotheses in zip(source, best, strict=True):
            assert [h.tokens for h in hypotheses] == model.all_outputs(row, LIMIT, 1.0)[:n_best]


@pytest.mark.parametrize("vocabulary", [7, 63, 64, 65, 300])
@pytest.mark.parametrize(("beam_size", "alpha"), [(2, 0.0), (3, 0.6), (5, 0.0), (5, 2.0)])
def test_a_narrow_beam_is_the_one_on_paper(vocabulary, beam_size, alpha):
    model, source = TableModel(vocabulary, vocabulary=vocabulary, spread=1.0), padded(sources(4, vocabulary))
    config = SearchConfig(beam_size=beam_size, n_best=beam_size, max_length=4, length_penalty=alpha)
    for row, best in zip(source, search(model, source, config), strict=True):
        expected = model.plain_beam(row, beam_size=beam_size, limit=4, alpha=alpha)
        assert [h.tokens for h in best] == expected[:beam_size]
