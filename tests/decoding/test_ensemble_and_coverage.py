import itertools
import math

import pytest
import torch
from real_models import forced_scores, real_model
from table_model import TableModel, padded, sources

from regard.attention.record import AttentionRecord
from regard.decoding.ensemble import Ensemble
from regard.decoding.search import SearchConfig, search
from regard.errors import UsageError
from regard.protocol import Batch
from regard.symbols import BOS, EOS, PAD

SOURCE = padded(sources(8, 6))
CONFIG = SearchConfig(beam_size=4, n_best=4, max_length_extra=5)
# In double precision, so that what is compared are formulas and not the rounding of such sharp weights.
TRANSFORMER = real_model("transformer", sharpness=1.0, seed=1).double()
RECURRENT = real_model("seq2seq", sharpness=1.0, seed=2).double()


def tokens(found: list[list]) -> list[list[list[int]]]:
    return [[h.tokens for h in best] for best in found]


@pytest.mark.parametrize("beam_size", [1, 4])
@pytest.mark.parametrize("model", [TRANSFORMER, RECURRENT])
def test_an_ensemble_of_one_is_the_model_bit_for_bit(model, beam_size):
    config = SearchConfig(beam_size=beam_size, max_length_extra=5)
    assert search(Ensemble([model]), SOURCE, config) == search(model, SOURCE, config)


def test_an_ensemble_of_copies_says_what_the_model_says():
    alone = search(TRANSFORMER, SOURCE, CONFIG)
    copies = search(Ensemble([TRANSFORMER] * 3), SOURCE, CONFIG)
    assert tokens(copies) == tokens(alone)
    for one, other in zip(itertools.chain(*alone), itertools.chain(*copies), strict=True):
        assert other.score == pytest.approx(one.score, abs=1e-5)


def test_the_order_of_the_members_does_not_matter():
    models = [TRANSFORMER, RECURRENT, real_model("transformer", norm="pre", seed=9)]
    expected = search(Ensemble(models), SOURCE, CONFIG)
    for order in itertools.permutations(models):
        assert tokens(search(Ensemble(order), SOURCE, CONFIG)) == tokens(expected)


def test_an_ensemble_of_different_architectures_averages_probabilities():
    for row, best in zip(SOURCE, search(Ensemble([TRANSFORMER, RECURRENT]), SOURCE, CONFIG), strict=True):
        for h in best:
            one, other = (forced_scores(model, row, h.tokens).exp() for model in (TRANSFORMER, RECURRENT))
            assert h.token_scores == pytest.approx(((one + other) / 2).log().tolist(), abs=1e-5)


def test_members_with_other_vocabularies_are_refused():
    with pytest.raises(UsageError, match="share a target vocabulary"):
        search(Ensemble([TableModel(0, vocabulary=6), TableModel(0, vocabulary=7)]), SOURCE, CONFIG)
    with pytest.raises(ValueError, match="at least one"):
        Ensemble([])


def coverage(source: torch.Tensor, said: list[int], *models) -> float:
    """sum_i log(min(sum_j p_ij, 1)) by one teacher-forced pass of each model, p being their mean."""
    batch, covered = Batch(source[source != PAD][None], torch.tensor([[BOS, *said, EOS]])), []
    for model in models:
        record = AttentionRecord()
        with torch.no_grad():
            model(batch, record)
        site = [site for site in record.sites if site.endswith(".cross")][-1]
        covered.append(record.weights(site).mean(1)[0].sum(0))
    return torch.stack(covered).mean(0).clamp(max=1).log().sum().item()


@pytest.mark.parametrize("model", [TRANSFORMER, RECURRENT, real_model("seq2seq", input_feeding=True)])
@pytest.mark.parametrize("alpha", [0.0, 0.6])
def test_the_coverage_penalty_is_gnmts(model, alpha):
    config = SearchConfig(beam_size=4, n_best=4, max_length_extra=4, length_penalty=alpha, coverage_penalty=0.7)
    for row, best in zip(SOURCE, search(model, SOURCE, config), strict=True):
        for h in best:
            expected = h.score / ((6 + len(h.tokens)) / 6) ** alpha + 0.7 * coverage(row, h.tokens, model)
            assert h.normalised == pytest.approx(expected, abs=1e-4)


def test_a_wide_beam_with_coverage_is_exhaustive():
    config = SearchConfig(
        beam_size=6**3, n_best=40, max_length_factor=0.0, max_length_extra=3, length_penalty=1.0, coverage_penalty=2.0
    )
    outputs = TableModel(0).all_outputs(SOURCE[0], 3, 0.0)
    for row, best in zip(SOURCE[:3], search(RECURRENT, SOURCE[:3], config), strict=True):
        scores = {
            tuple(o): math.fsum(forced_scores(RECURRENT, row, o).tolist()) / ((6 + len(o)) / 6)
            + 2.0 * coverage(row, o, RECURRENT)
            for o in outputs
        }
        assert [h.normalised for h in best] == pytest.approx(sorted(scores.values(), reverse=True), abs=1e-4)


def test_coverage_works_for_an_ensemble_and_changes_what_wins():
    ensemble = Ensemble([TRANSFORMER, RECURRENT])
    without = search(ensemble, SOURCE, CONFIG)
    found = search(ensemble, SOURCE, CONFIG.model_copy(update={"coverage_penalty": 3.0}))
    assert tokens(found) != tokens(without)


def test_a_picture_has_no_coverage():
    with pytest.raises(UsageError, match="coverage_penalty is for texts"):
        search(TRANSFORMER, torch.zeros(1, 3, 8, 8), SearchConfig(coverage_penalty=0.1))


def test_coverage_needs_attention_to_the_source():
    with pytest.raises(UsageError, match="attends to the source"):
        search(real_model("seq2seq", score="none"), SOURCE, SearchConfig(coverage_penalty=0.1))
