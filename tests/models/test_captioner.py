"""Show, Attend and Tell: soft, hard and no attention against the paper's equations, and what each must keep."""

import pytest
import torch
from pydantic import ValidationError
from torch.testing import assert_close

from checks import captioner as checks
from checks.captioner import EXACT, FromTokens, captioner_model, example, pictures
from checks.models import INVARIANTS, weights_are_probabilities
from checks.search import search_scores_are_the_model_s
from regard.attention.record import AttentionRecord
from regard.layers.batch_norm import BatchNorm
from regard.models import captioner
from regard.models.captioner import SITE
from regard.protocol import Batch, Decodable, Dimensions
from regard.symbols import PAD
from regard.training.loss import sequence_loss

KINDS = ["soft", "hard", "none"]


def from_tokens(kind):
    return lambda **settings: FromTokens(captioner_model(attention=kind, **settings)).eval()


@pytest.mark.parametrize("kind", KINDS)
def test_a_padded_batch_follows_the_equations_of_each_caption(kind):
    checks.follows_the_paper(attention=kind)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("check", INVARIANTS, ids=lambda check: check.__name__)
def test_it_keeps_the_invariant(check, kind):
    if check is weights_are_probabilities:
        pytest.skip("keys are regions, not words; see the next test")
    if check.__name__ == "every_parameter_learns" and kind == "hard":
        pytest.skip("the drawn location gives no gradient by itself; see the score function's tests")
    check(from_tokens(kind))


@pytest.mark.parametrize("kind", ["soft", "hard"])
def test_weights_are_probabilities_over_all_regions(kind):
    model, record = captioner_model(attention=kind), AttentionRecord()
    model(example(), record)
    weights = record.weights(SITE)
    assert weights.shape == (3, 1, 6, 9)
    assert_close(weights.sum(-1), torch.ones(3, 1, 6).double(), rtol=0, atol=1e-6)
    assert ((weights == 1).any(-1) == (kind == "hard")).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_search_scores_what_the_model_says(kind):
    search_scores_are_the_model_s(from_tokens(kind))


def test_regions_that_were_read_before_say_the_same():
    model, batch = captioner_model(), example()
    regions = model.encoder(batch.source)
    assert_close(model(batch._replace(source=regions)).logits, model(batch).logits, **EXACT)


@pytest.mark.parametrize("kind", ["soft", "hard"])
def test_the_regulariser_counts_real_words_alone(kind):
    if kind == "hard":
        only_mean = {"sampled": 1e-9, "reinforce_weight": 1e-9, "entropy_weight": 0.0}
        checks.the_regulariser_is_the_papers(attention="hard", hard=only_mean)
    else:
        checks.the_regulariser_is_the_papers()


def test_the_gate_is_one_number_a_step():
    checks.the_gate_is_one_number_and_changes()


@pytest.mark.parametrize("sampled", [1.0, 0.5])
def test_training_follows_the_exact_gradient(sampled):
    if sampled < 1:
        with pytest.raises(AssertionError):
            checks.reinforce_is_unbiased(sampled=sampled)  # seeing the mean now and then is another objective
    else:
        checks.reinforce_is_unbiased()


def test_the_reward_teaches_where_to_look_and_nothing_else():
    checks.only_scores_get_the_reward()


def test_the_baseline_follows_the_mean_and_is_saved():
    model = captioner_model(attention="hard", dropout=0.0).train()
    batch = example()
    assert "baseline" in model.state_dict()
    for _ in range(25):
        logits = model(batch).logits.detach().log_softmax(-1)
    mean = logits.gather(-1, batch.labels.unsqueeze(-1)).squeeze(-1)[batch.labels != PAD].mean()
    assert abs(float(model.baseline) - float(mean)) < 1.0
    before = model.baseline.clone()
    model.eval()(batch)
    assert torch.equal(model.baseline, before), "evaluation moves the baseline"


@pytest.mark.parametrize("kind", KINDS)
def test_it_learns_one_batch_by_heart(kind):
    torch.manual_seed(0)
    sizes = {"embedding_size": 16, "decoder_size": 24, "dropout": 0.0, "encoder": checks.ENCODER}
    model = captioner.build(captioner.Config.model_validate({"attention": kind} | sizes), checks.PICTURES)
    batch = example(lengths=(4, 5, 2))
    batch = Batch(batch.source.float(), batch.target)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(80):
        loss = sequence_loss(model.train()(batch), batch.labels)
        optimizer.zero_grad()
        (loss.total / loss.num_tokens).backward()
        optimizer.step()
    model.eval()
    # The statistics of batch normalisation trail behind; of one batch they can be had exactly.
    for module in model.modules():
        if isinstance(module, BatchNorm):
            module.momentum = None
            module.reset_running_stats()
    with torch.no_grad():
        model.train()(batch)
        loss = sequence_loss(model.eval()(batch), batch.labels)
    assert float(loss.nll) / loss.num_tokens < 0.1


def test_it_can_be_searched():
    assert isinstance(captioner_model(), Decodable)
    state = captioner_model().encode(pictures())
    assert state.carry.hidden.shape == (3, 1, 6)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"attention": "soft", "hard": {}}, "no effect with attention soft"),
        ({"attention": "none", "attention_size": 5}, "no effect with attention none"),
        ({"attention": "none", "doubly_stochastic": 1.0}, "no effect with attention none"),
        ({"hard": {"sampled": 0}, "attention": "hard"}, "greater than 0"),
    ],
)
def test_settings_without_effect_are_refused(settings, words):
    with pytest.raises(ValidationError, match=words):
        captioner.Config.model_validate(settings)


def test_grey_pictures_have_one_channel():
    config = captioner.Config.model_validate({"encoder": checks.ENCODER})
    model = captioner.build(config, Dimensions(1, 9, height=8, width=8)).eval()
    assert model.encode(torch.rand(2, 1, 8, 8)).memory.keys.shape == (2, 1, 4, 512)
