import itertools
import math

import pytest
import torch
from table_model import TableModel, padded, sources

from regard.decoding.beam import Rules, beam_search
from regard.decoding.constraints import Constraints
from regard.decoding.penalties import LengthPenalty
from regard.decoding.search import SearchConfig, length_limits, search
from regard.decoding.trace import Trace
from regard.errors import ModelError
from regard.protocol import State
from regard.symbols import BOS, EOS, PAD, UNK

SOURCE = padded(sources(12, 7))


def found(model: TableModel, **settings) -> list[list]:
    return search(model, SOURCE, SearchConfig(**{"max_length_extra": 10, **settings}))


@pytest.mark.parametrize("seed", range(5))
def test_a_beam_of_one_is_greedy(seed):
    model = TableModel(seed, vocabulary=9)
    limits = length_limits(SOURCE, SearchConfig(max_length_extra=10))
    rules = Rules(limits, Constraints(limits), LengthPenalty(0.0))
    with torch.inference_mode():
        beam = beam_search(model, SOURCE, beam_size=1, n_best=1, rules=rules)
    greedy = found(model, beam_size=1, length_penalty=0.0)
    assert [b[0].tokens for b in beam] == [g[0].tokens for g in greedy]
    assert [b[0].score for b in beam] == pytest.approx([g[0].score for g in greedy])


def test_greedy_takes_the_best_token_of_every_step():
    model = TableModel(3, vocabulary=9)
    for row, (hypothesis,) in zip(SOURCE, found(model, beam_size=1), strict=True):
        for length in range(len(hypothesis.tokens)):
            said = hypothesis.token_scores[length]
            others = [
                model.token_scores(row, [*hypothesis.tokens[:length], token])[length] for token in (1, *range(4, 9))
            ]
            assert said == pytest.approx(max(others), abs=1e-5)


@pytest.mark.parametrize("beam_size", [2, 3, 8])
@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.5])
def test_scores_are_right_and_no_output_comes_twice(beam_size, alpha):
    model = TableModel(11, vocabulary=9)
    for row, best in zip(
        SOURCE, found(model, beam_size=beam_size, n_best=beam_size, length_penalty=alpha), strict=True
    ):
        assert len({tuple(h.tokens) for h in best}) == len(best) == beam_size
        for h in best:
            expected = model.token_scores(row, h.tokens)
            assert h.token_scores == pytest.approx(expected, abs=1e-5)
            assert h.score == pytest.approx(math.fsum(expected), abs=1e-5)
            assert h.normalised == pytest.approx(h.score / ((5 + len(h.tokens) + 1) / 6) ** alpha, abs=1e-5)
        assert [h.normalised for h in best] == sorted((h.normalised for h in best), reverse=True)


def test_the_two_length_penalties_are_as_documented():
    scores, lengths = torch.tensor([-1.0]), torch.tensor([20])
    assert 1 / -LengthPenalty(0.6)(scores, lengths).item() == pytest.approx(2.354, abs=1e-3)
    assert 1 / -LengthPenalty(0.6, "length")(scores, lengths).item() == pytest.approx(6.034, abs=1e-3)
    assert LengthPenalty(0.0)(scores, lengths) is scores


@pytest.mark.parametrize("beam_size", [1, 4])
def test_nobody_says_special_symbols(beam_size):
    model = TableModel(1, vocabulary=6)
    model.table[:, [PAD, BOS]] += 20
    said = {token for best in found(model, beam_size=beam_size, min_length=3) for token in best[0].tokens}
    assert said <= {UNK, 4, 5}
    assert UNK in said
    without = {
        t for best in found(model, beam_size=beam_size, min_length=3, forbid_unknown=True) for t in best[0].tokens
    }
    assert without <= {4, 5}


@pytest.mark.parametrize("beam_size", [1, 4])
@pytest.mark.parametrize(("shortest", "longest"), [(0, 4), (3, 4), (4, 4), (6, 4)])
def test_lengths_stay_within_their_limits(beam_size, shortest, longest):
    outputs = found(
        TableModel(2),
        beam_size=beam_size,
        n_best=beam_size,
        min_length=shortest,
        max_length_factor=0.0,
        max_length_extra=longest,  # of this source; a max_length below min_length is refused
        length_penalty=0.0,
    )
    lengths = {len(h.tokens) for best in outputs for h in best}
    assert min(lengths) >= min(shortest, longest)
    assert max(lengths) == longest


def test_the_limit_depends_on_the_source_alone():
    source = torch.tensor([[4, 5, EOS, PAD], [4, 4, 4, EOS], [EOS, PAD, PAD, PAD]])
    config = SearchConfig(max_length=6, max_length_factor=1.5, max_length_extra=2)
    assert length_limits(source, config).tolist() == [5, 6, 2]
    assert length_limits(torch.rand(2, 3, 8, 8), config).tolist() == [6, 6]


@pytest.mark.parametrize("beam_size", [1, 5])
@pytest.mark.parametrize("size", [1, 2, 3])
def test_no_ngram_comes_twice(beam_size, size):
    settings = {"beam_size": beam_size, "min_length": 8, "max_length": 12}
    free = found(TableModel(5), **settings)
    assert any(_repeats(h.tokens, size) for best in free for h in best)
    for best in found(TableModel(5), no_repeat_ngram_size=size, **settings):
        assert not any(_repeats(h.tokens, size) for h in best)


def _repeats(tokens: list[int], size: int) -> bool:
    ngrams = [tuple(tokens[i : i + size]) for i in range(len(tokens) - size + 1)]
    return len(set(ngrams)) < len(ngrams)


def test_who_may_say_nothing_else_may_end():
    # three words, none of them twice, yet at least eight: the weaker rule gives way
    for best in found(TableModel(5), no_repeat_ngram_size=1, min_length=8, beam_size=3):
        assert sorted(best[0].tokens) == [UNK, 4, 5]


@pytest.mark.parametrize("beam_size", [1, 4])
def test_outputs_begin_with_their_prefix_and_its_probability_counts(beam_size):
    model = TableModel(8)
    prefixes = [[4, 5, UNK][: number % 4] for number in range(len(SOURCE))]
    config = SearchConfig(beam_size=beam_size, max_length=2, length_penalty=0.0)
    outputs = search(model, SOURCE, config, prefixes=prefixes)
    for row, prefix, (best, *_) in zip(SOURCE, prefixes, outputs, strict=True):
        assert best.tokens[: len(prefix)] == prefix
        assert len(best.tokens) <= max(2, len(prefix))
        assert best.token_scores == pytest.approx(model.token_scores(row, best.tokens), abs=1e-5)


def test_a_wide_beam_with_prefixes_finds_the_best_continuation():
    model = TableModel(9)
    prefixes = [[5, 4][: number % 3] for number in range(len(SOURCE))]
    config = SearchConfig(beam_size=6**4, max_length_factor=0.0, max_length_extra=4, n_best=3, length_penalty=1.0)
    for row, prefix, best in zip(SOURCE, prefixes, search(model, SOURCE, config, prefixes=prefixes), strict=True):
        expected = [o for o in model.all_outputs(row, 4, 1.0) if o[: len(prefix)] == prefix]
        assert [h.tokens for h in best] == expected[:3]


@pytest.mark.parametrize("prefixes", [[[4]], [[EOS]] * 12, [[PAD, 4]] * 12])
def test_a_wrong_prefix_is_refused(prefixes):
    with pytest.raises(ValueError, match="prefix"):
        search(TableModel(0), SOURCE, SearchConfig(), prefixes=prefixes)


def test_settings_without_effect_are_refused():
    for wrong in ({"n_best": 6}, {"temperature": 0.5}, {"top_k": 3}, {"sampling": True, "coverage_penalty": 0.2}):
        with pytest.raises(ValueError, match=r"effect|find no more"):
            SearchConfig(**wrong)


def test_a_model_in_training_mode_is_refused():
    from real_models import real_model

    with pytest.raises(ValueError, match=r"model\.eval"):
        search(real_model("seq2seq").train(), SOURCE, SearchConfig())


@pytest.mark.parametrize("settings", [{"beam_size": 1}, {"beam_size": 3}, {"sampling": True}])
def test_nan_is_an_error_and_not_an_endless_search(settings):
    model = TableModel(0)
    model.table[:] = torch.nan
    with pytest.raises(ModelError, match="NaN"):
        found(model, **settings)


@pytest.mark.parametrize("settings", [{"beam_size": 1}, {"beam_size": 3}, {"sampling": True, "n_best": 2}])
def test_a_model_that_never_wants_to_end_ends_at_the_limit(settings):
    model = TableModel(0)
    model.table[:, EOS] = -torch.inf
    for row, best in zip(SOURCE, found(model, max_length=5, **settings), strict=True):
        assert {len(h.tokens) for h in best} == {min(5, int((row != PAD).sum()) + 9)}


def test_an_empty_batch_gives_nothing():
    assert search(TableModel(0), SOURCE[:0], SearchConfig()) == []


class Counting(TableModel):
    """Writes down how many sentences and rows each step sees."""

    def __init__(self, seed: int, **settings) -> None:
        super().__init__(seed, **settings)
        self.seen: list[tuple[int, int]] = []

    def step(self, state: State, tokens: torch.Tensor, record: object = None) -> tuple[torch.Tensor, State]:
        self.seen.append((state.memory.size(0), tokens.size(0)))
        return super().step(state, tokens, record)


@pytest.mark.parametrize("beam_size", [1, 3])
def test_finished_sentences_leave_the_batch_and_memory_is_never_repeated(beam_size):
    model = Counting(4, vocabulary=9)
    found(model, beam_size=beam_size)
    sentences = [seen[0] for seen in model.seen]
    assert sentences == sorted(sentences, reverse=True)
    assert sentences[0] == len(SOURCE)
    assert 0 < sentences[-1] < len(SOURCE)
    assert [rows // sentences for sentences, rows in model.seen] == [1] + [beam_size] * (len(model.seen) - 1)


def test_leaving_the_batch_changes_nothing_for_those_who_stay():
    model = TableModel(4, vocabulary=9)
    together = found(model, beam_size=3, n_best=3)
    alone = [
        search(model, row[row != PAD][None], SearchConfig(max_length_extra=10, beam_size=3, n_best=3))[0]
        for row in SOURCE
    ]
    assert [[h.tokens for h in best] for best in together] == [[h.tokens for h in best] for best in alone]


class Scripted:
    """Always the same distribution, whatever came before."""

    def __init__(self, *steps: dict[int, float]) -> None:
        self.steps = [[step.get(token, 1e-9) for token in range(8)] for step in steps]

    def encode(self, source: torch.Tensor, record=None) -> State:
        return State(source, torch.zeros(source.size(0), dtype=torch.long))

    def step(self, state: State, tokens: torch.Tensor, record: object = None) -> tuple[torch.Tensor, State]:
        place = state.carry.clamp(max=len(self.steps) - 1)
        return torch.tensor(self.steps).log()[place], State(state.memory, state.carry + 1)


def test_an_end_below_the_top_k_does_not_count():
    # EOS is third of step one: within 2k = 4, not within k = 2
    model = Scripted({4: 0.5, 5: 0.3, EOS: 0.2}, {EOS: 0.6, 4: 0.3, 5: 0.1})
    source = torch.tensor([[4, EOS]])
    trace = Trace()
    best = search(model, source, SearchConfig(beam_size=2, n_best=2, length_penalty=0.0, max_length=3), trace=trace)
    assert [] not in [h.tokens for h in best[0]]
    assert trace.steps[0][0][2].fate == "end outside the beam"
    wider = search(model, source, SearchConfig(beam_size=3, n_best=3, length_penalty=0.0, max_length=3))
    assert [] in [h.tokens for h in wider[0]]


def test_the_search_goes_on_while_a_longer_output_could_still_win():
    # Ending at once has 0.5; three tokens more have 0.4, and more per token with a length penalty.
    model = Scripted({EOS: 0.5, 4: 0.4, 5: 0.1}, {4: 0.98}, {4: 0.98}, {EOS: 0.98})
    source = torch.tensor([[4, EOS]])
    settings = {"beam_size": 2, "max_length": 4}
    assert search(model, source, SearchConfig(length_penalty=0.0, **settings))[0][0].tokens == []
    assert search(model, source, SearchConfig(length_penalty=1.0, **settings))[0][0].tokens == [4, 4, 4]
    hasty = search(model, source, SearchConfig(length_penalty=1.0, early_stopping=True, **settings))
    assert hasty[0][0].tokens == []


def test_the_trace_tells_the_same_story_as_the_result():
    model, trace = TableModel(13, vocabulary=9), Trace()
    config = SearchConfig(beam_size=3, n_best=3, max_length_extra=6)
    best = search(model, SOURCE, config, trace=trace)
    assert best == search(model, SOURCE, config)
    for number, hypotheses in enumerate(best):
        finished = {}
        beams = [()]
        for step in trace.steps[number]:
            finished |= {beams[c.parent]: c.score for c in step if c.fate == "finished"}
            beams = [(*beams[c.parent], c.token) for c in step if c.fate == "kept"]
            assert len(step) <= 6
            assert len(beams) <= 3
            assert [c.score for c in step] == sorted((c.score for c in step), reverse=True)
        for h in hypotheses:
            assert finished[tuple(h.tokens)] == pytest.approx(h.score, abs=1e-5)


def test_bigger_beams_are_never_worse_when_exhaustive():
    model = TableModel(21)
    sizes = [6**n for n in (3, 4)]
    settings = {"max_length_factor": 0.0, "max_length_extra": 3}
    scores = [[b[0].normalised for b in search(model, SOURCE, SearchConfig(beam_size=s, **settings))] for s in sizes]
    for before, after in itertools.pairwise(scores):
        assert before == pytest.approx(after)
