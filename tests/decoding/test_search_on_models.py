import random

import jaxtyping
import pytest
from real_models import REAL, forced_scores, real_model
from table_model import TableModel, padded, sources

from regard.decoding.search import Hypothesis, SearchConfig, search, stream
from regard.errors import DataError

LIMIT = 3
WIDE = {"beam_size": 6**LIMIT, "max_length_factor": 0.0, "max_length_extra": LIMIT}


@pytest.mark.parametrize(("name", "settings"), REAL)
@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_a_wide_beam_is_exhaustive_on_real_models(name, settings, alpha):
    model, source = real_model(name, **settings), padded(sources(2, 1))
    outputs = TableModel(0).all_outputs(source[0], LIMIT, 0.0)
    found = search(model, source, SearchConfig(**WIDE, n_best=len(outputs), length_penalty=alpha))
    for row, hypotheses in zip(source, found, strict=True):
        scores = {tuple(o): forced_scores(model, row, o).sum().item() / ((6 + len(o)) / 6) ** alpha for o in outputs}
        assert len(hypotheses) == len(outputs)
        assert {tuple(h.tokens) for h in hypotheses} == set(scores)
        for hypothesis in hypotheses:
            assert hypothesis.normalised == pytest.approx(scores[tuple(hypothesis.tokens)], abs=1e-5)
        assert [h.normalised for h in hypotheses] == sorted((h.normalised for h in hypotheses), reverse=True)


@pytest.mark.parametrize(("name", "settings"), REAL)
@pytest.mark.parametrize("beam_size", [1, 3])
def test_every_score_is_that_of_teacher_forcing(name, settings, beam_size):
    model, source = real_model(name, **settings), padded(sources(6, 2))
    config = SearchConfig(beam_size=beam_size, n_best=beam_size, max_length_extra=8)
    for row, hypotheses in zip(source, search(model, source, config), strict=True):
        assert len(hypotheses) == beam_size
        for hypothesis in hypotheses:
            expected = forced_scores(model, row, hypothesis.tokens)
            assert hypothesis.token_scores == pytest.approx(expected.tolist(), abs=1e-5)
            assert hypothesis.score == pytest.approx(expected.sum().item(), abs=1e-5)


@pytest.fixture
def fast():
    """No checks of shapes: they take most of the time of a step with one row."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def _translate_in_batches(model: object, rows: list[list[int]], size: int, config: SearchConfig) -> list[Hypothesis]:
    starts = range(0, len(rows), size)
    return [best[0] for start in starts for best in search(model, padded(rows[start : start + size]), config)]


@pytest.mark.usefixtures("fast")
@pytest.mark.parametrize(("name", "settings"), REAL[:3])
@pytest.mark.parametrize("beam_size", [1, 4])
def test_neighbours_size_order_and_padding_of_the_batch_change_nothing(name, settings, beam_size):
    model, rows = real_model(name, target=40, sharpness=1.5, **settings), sources(200, 4, longest=15)
    config = SearchConfig(beam_size=beam_size, max_length_factor=0.4, max_length_extra=3)
    alone = _translate_in_batches(model, rows, 1, config)
    assert len({tuple(h.tokens) for h in alone}) > 20  # else the test could not fail
    order = list(range(200))
    random.Random(5).shuffle(order)
    for size in (7, 64):
        together = _translate_in_batches(model, rows, size, config)
        assert [h.tokens for h in together] == [h.tokens for h in alone]
        shuffled = _translate_in_batches(model, [rows[place] for place in order], size, config)
        assert [h.tokens for h in shuffled] == [alone[place].tokens for place in order]


@pytest.mark.parametrize(
    ("name", "settings"), [("convs2s", {"max_length": 6}), ("transformer", {"positions": "learned", "max_length": 6})]
)
def test_an_output_ends_where_the_model_has_no_more_positions(name, settings):
    model, source = real_model(name, sharpness=1.0, **settings), padded(sources(3, 1, longest=4))
    endless = SearchConfig(beam_size=2, min_length=5, max_length_extra=20)
    assert [len(best[0].tokens) for best in search(model, source, endless)] == [5, 5, 5]
    with pytest.raises(DataError, match="learned positions for 6 only"):
        forced_scores(model, source[0], [4] * 6)


def test_a_stream_is_the_one_sample_however_many_are_wanted():
    model, source = real_model("seq2seq"), padded(sources(1, 1))
    config = SearchConfig(sampling=True, n_best=3, max_length_extra=8)
    one = config.model_copy(update={"n_best": 1})
    assert list(stream(model, source, config)) == search(model, source, one)[0][0].tokens
