"""Planted bugs: each must turn at least one of the checks red, else the checks are worth nothing."""

import importlib
import inspect
import itertools
from collections.abc import Callable
from types import ModuleType

import pytest
import torch
from real_models import real_model
from table_model import TableModel, padded, sources

from regard.decoding import search as search_module
from regard.decoding.ensemble import Ensemble
from regard.decoding.search import SearchConfig, search
from regard.protocol import State
from regard.symbols import EOS, PAD

SOURCE = padded(sources(5, 7))
SHORT = {"max_length_factor": 0.0, "max_length_extra": 3}


def exhaustive() -> None:
    for alpha in (0.0, 1.0):
        model = TableModel(4)
        config = SearchConfig(beam_size=6**3, n_best=12, length_penalty=alpha, **SHORT)
        expected = [model.all_outputs(row, 3, alpha)[:12] for row in SOURCE]
        assert [[h.tokens for h in best] for best in search(model, SOURCE, config)] == expected


def rescored() -> None:
    model = TableModel(5, vocabulary=9)
    for beam_size in (1, 3):
        config = SearchConfig(beam_size=beam_size, n_best=beam_size, max_length_extra=5)
        for row, best in zip(SOURCE, search(model, SOURCE, config), strict=True):
            assert len(best) == beam_size
            for h in best:
                assert h.token_scores == pytest.approx(model.token_scores(row, h.tokens), abs=1e-5)
                assert h.normalised == pytest.approx(h.score / ((6 + len(h.tokens)) / 6) ** 0.6, abs=1e-5)


def alone_as_together() -> None:
    model = TableModel(6, vocabulary=9)
    for settings in ({"beam_size": 1}, {"beam_size": 3}, {"sampling": True, "n_best": 2}):
        config = SearchConfig(max_length_extra=5, **settings)
        together = search(model, SOURCE, config)
        for number, (row, best) in enumerate(zip(SOURCE, together, strict=True)):
            assert search(model, row[row != PAD][None], config, rows=[number])[0] == best


def as_on_paper() -> None:
    model = TableModel(7, vocabulary=150, spread=1.0)
    for beam_size, alpha in ((2, 0.0), (4, 1.0)):
        config = SearchConfig(beam_size=beam_size, n_best=beam_size, max_length=5, length_penalty=alpha)
        for row, best in zip(SOURCE, search(model, SOURCE, config), strict=True):
            expected = model.plain_beam(row, beam_size=beam_size, limit=5, alpha=alpha)
            assert [h.tokens for h in best] == expected[:beam_size]


class Scripted:
    """Always the same distributions; keeps the sizes it has seen."""

    def __init__(self, *steps: dict[int, float]) -> None:
        self.steps = torch.tensor([[step.get(token, 1e-9) for token in range(8)] for step in steps]).log()
        self.seen: set[tuple[int, int]] = set()

    def encode(self, source: torch.Tensor, record=None) -> State:
        return State(source, torch.zeros(source.size(0), dtype=torch.long))

    def step(self, state: State, tokens: torch.Tensor, record: object = None) -> tuple[torch.Tensor, State]:
        self.seen.add((state.memory.size(0), tokens.size(0)))
        place = state.carry.clamp(max=len(self.steps) - 1)
        return self.steps[place], State(state.memory, state.carry + 1)


def ends_count_within_the_beam_only() -> None:
    model = Scripted({4: 0.5, 5: 0.3, EOS: 0.2}, {EOS: 0.6, 4: 0.3, 5: 0.1})
    best = search(model, SOURCE[:1], SearchConfig(beam_size=2, n_best=2, length_penalty=0.0, max_length=3))
    assert [h.tokens for h in best[0]] == [[4], [5]]


def nobody_stops_too_early_or_too_late() -> None:
    model = Scripted({EOS: 0.5, 4: 0.4, 5: 0.1}, {4: 0.98}, {4: 0.98}, {EOS: 0.98})
    assert (
        search(model, SOURCE[:1], SearchConfig(beam_size=2, max_length=4, length_penalty=1.0))[0][0].tokens == [4] * 3
    )
    hasty = SearchConfig(beam_size=2, max_length=4, length_penalty=1.0, early_stopping=True)
    assert search(model, SOURCE[:1], hasty)[0][0].tokens == []
    sure = Scripted({EOS: 0.98, 4: 0.01, 5: 0.01}, {EOS: 1e-5, 4: 0.5, 5: 0.5})
    search(sure, SOURCE[:1], SearchConfig(beam_size=2, max_length=4, length_penalty=0.0))
    assert sure.seen == {(1, 1)}


def memory_has_one_row_a_sentence() -> None:
    model = Scripted({4: 0.5, 5: 0.5}, {EOS: 0.5, 4: 0.3, 5: 0.2})
    search(model, SOURCE, SearchConfig(beam_size=2, max_length=3))
    assert model.seen == {(5, 5), (5, 10)}


def rules_hold() -> None:
    model = TableModel(8)
    for beam_size in (1, 3):
        config = SearchConfig(beam_size=beam_size, min_length=3, max_length=7, no_repeat_ngram_size=2)
        prefixes = [[5, 4], [], [4], [5], []]
        for prefix, best in zip(prefixes, search(model, SOURCE, config, prefixes=prefixes), strict=True):
            said = best[0].tokens
            assert said[: len(prefix)] == prefix
            assert 3 <= len(said) <= 7
            assert not {PAD, 2, EOS} & set(said)
            pairs = list(itertools.pairwise(said))
            assert len(set(pairs)) == len(pairs)
    config = SearchConfig(beam_size=3, min_length=7, max_length=7, no_repeat_ngram_size=2)
    for best in search(model, SOURCE, config):
        pairs = list(itertools.pairwise(best[0].tokens))
        assert len(set(pairs)) == len(pairs) == 6
    prefixes = [[], [4, 5, 4, 5, 1], [], [5, 5, 5, 5], [1, 1, 1]]
    found = search(model, SOURCE, SearchConfig(max_length=2), prefixes=prefixes)
    assert [best[0].tokens for best in found if len(best[0].tokens) > 2] == [p for p in prefixes if p]
    free = search(model, SOURCE, SearchConfig(beam_size=3, min_length=7, max_length=7))
    assert all(len(best[0].tokens) == 7 for best in free)
    unigrams = search(model, SOURCE, SearchConfig(beam_size=3, no_repeat_ngram_size=1, min_length=3, max_length=7))
    assert all(sorted(best[0].tokens) == [1, 4, 5] for best in unigrams)


def coverage_is_counted() -> None:
    from test_ensemble_and_coverage import coverage

    one, other = (real_model("seq2seq", sharpness=1.0, seed=seed) for seed in (2, 3))
    plain = SearchConfig(beam_size=6**3, n_best=40, length_penalty=1.0, **SHORT)
    for models in ([one], [one, other], [real_model("transformer"), other]):
        before = {tuple(h.tokens): h.normalised for h in search(Ensemble(models), SOURCE[:1], plain)[0]}
        for h in search(Ensemble(models), SOURCE[:1], plain.model_copy(update={"coverage_penalty": 1.0}))[0]:
            expected = before[tuple(h.tokens)] + coverage(SOURCE[0], h.tokens, *models)
            assert h.normalised == pytest.approx(expected, abs=1e-4)


CHECKS: list[Callable[[], None]] = [
    exhaustive,
    as_on_paper,
    rescored,
    alone_as_together,
    ends_count_within_the_beam_only,
    nobody_stops_too_early_or_too_late,
    memory_has_one_row_a_sentence,
    rules_hold,
    coverage_is_counted,
]

BUGS = [
    ("beam", "    ended[:, beam_size:] = False\n", ""),
    ("beam", "_best(log_probs, beam.scores, 2 * beam_size)", "_best(log_probs, beam.scores, beam_size)"),
    ("beam", "best, parents.gather(1, places // BLOCK)", "best, (parents.gather(1, places // BLOCK) - 1).clamp(min=0)"),
    ("beam", ".unsqueeze(1) * beam.tokens.size(1)\n", ".unsqueeze(1)\n"),
    ("beam", "scores.masked_fill(is_end, -torch.inf).topk", "scores.topk"),
    ("beam", "            scores.masked_fill(tokens == EOS, -torch.inf),", "            scores,"),
    ("beam", "beam.tokens.size(-1) + 1)", "beam.tokens.size(-1))"),
    ("beam", "beam.tokens.size(-1) + 1)", "beam.tokens.size(-1) + 2)"),
    ("beam", "    if rules.hasty:\n", "    if True:\n"),
    ("beam", "    if rules.hasty:\n", "    if False:\n"),
    ("beam", "best_to_come > finished.worst[beam.sentences]", "best_to_come.isfinite()"),
    (
        "beam",
        "beam, rows, memory = select_rows((beam, rows, memory), remaining)",
        "beam, rows = select_rows((beam, rows), remaining)",
    ),
    (
        "beam",
        "beam, rows, memory = select_rows((beam, rows, memory), remaining)",
        "beam, memory = select_rows((beam, memory), remaining); rows = rows[: len(remaining)]",
    ),
    ("beam", "return beam, State(memory, ", "return beam, State(select_rows(state.memory, rows.flatten()), "),
    ("beam", "lambda kept: -kept.normalised", "lambda kept: kept.normalised"),
    ("beam", "lambda kept: -kept.normalised", "lambda kept: -kept.score"),
    ("beam", "(ranked > finished.worst", "(ranked < finished.worst"),
    ("beam", "parents * log_probs.size(-1) + tokens", "tokens"),
    ("beam", "[self.tokens.gather(1, index), ", "[self.tokens[:, :1].expand(-1, tokens.size(1), -1), "),
    ("beam", " + scores.gather(1, parents).unsqueeze(-1)", ""),
    ("beam", "(greatest + scores.unsqueeze(-1)).flatten(1)", "greatest.flatten(1)"),
    ("beam", ".topk(min(num, greatest[0].numel()))", ".topk(min(num // 2, greatest[0].numel()))"),
    ("beam", "% blocks * BLOCK)", "% blocks * (BLOCK - 1))"),
    ("beam", "if whole < vocabulary:", "if False:"),
    ("beam", "totals.masked_fill_(tokens >= vocabulary, -torch.inf)", "pass"),
    ("beam", ".gather(1, candidates.parents)\n            _collect", "[:, :1]\n            _collect"),
    ("greedy", "constrain(log_probs, tokens, sentences)", "constrain(log_probs, tokens, sentences * 0)"),
    ("greedy", "select_rows(state.memory, keep)", "state.memory[: len(keep)]"),
    ("greedy", "keep.unsqueeze(1) * num", "keep.unsqueeze(1)"),
    ("greedy", "going_on = alive.any(-1)", "going_on = alive.all(-1)"),
    ("greedy", "steps[: length + 1]", "steps[:length]"),
    ("sampling", "numpy.random.default_rng([seed, row])", "numpy.random.default_rng([seed, len(rows)])"),
    ("sampling", "self._uniform[sentences, step]", "self._uniform[: len(sentences), step]"),
    ("constraints", "self.limits[sentences] <= length", "self.limits[sentences] < length"),
    ("constraints", "self.limits[sentences] <= length", "self.limits[: len(sentences)] <= length"),
    ("constraints", "if length < self._min_length:", "if length <= self._min_length:"),
    ("constraints", "        log_probs.index_fill_(-1, self._never, -torch.inf)\n", ""),
    ("constraints", "windows[..., -1].masked_fill(~seen, PAD)", "windows[..., 0].masked_fill(~seen, PAD)"),
    ("constraints", "if 0 < self._ngram_size <= length:", "if 0 < self._ngram_size < length:"),
    ("constraints", "self._prefixes[sentences, length]", "self._prefixes[: len(sentences), length]"),
    ("constraints", "torch.where(forced.isnan(), log_probs, forced)", "log_probs"),
    ("penalties", "(5.0 + lengths) / 6.0", "(6.0 + lengths) / 6.0"),
    ("penalties", "scores / base**self.alpha", "scores * base**self.alpha"),
    ("coverage", "coverage = coverage + torch.stack(", "coverage = torch.stack("),
    ("coverage", "looks.of_members or _last_look(looks)", "looks.of_members[-1:] or _last_look(looks)"),
    ("coverage", ".masked_fill(~real.unsqueeze(1), 0)", ""),
    ("coverage", "min=LEAST_COVERAGE, max=1", "min=LEAST_COVERAGE"),
]


def _mutated(name: str, before: str, after: str) -> ModuleType:
    original = importlib.import_module(f"regard.decoding.{name}")
    source = inspect.getsource(original)
    assert source.count(before) == 1, f"the text to change is not (once) in {name}.py any more"
    module = ModuleType(original.__name__)
    exec(compile(source.replace(before, after), f"{name}.py, mutated", "exec"), module.__dict__)  # noqa: S102  our own source
    return module


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_search_passes(check):
    check()


@pytest.mark.parametrize(("name", "before", "after"), BUGS)
def test_a_planted_bug_is_found(monkeypatch, name, before, after):
    module = _mutated(name, before, after)
    for public in ("beam_search", "follow", "best_token", "Sampler", "Constraints", "LengthPenalty", "WithCoverage"):
        if public in vars(module):
            monkeypatch.setattr(search_module, public, getattr(module, public))
    for check in CHECKS:
        try:
            check()
        except Exception:
            return
    pytest.fail("no check noticed the bug")
