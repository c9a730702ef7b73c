"""Experts between LSTM layers, and experts in the Transformer: equations, invariants, balance, learning."""

import pytest
import torch
from pydantic import ValidationError

from checks import experts as expert_checks
from checks import moe as checks
from checks.making import SOURCE, TARGET, example, transformer_model
from checks.models import INVARIANTS
from checks.moe import moe_model
from checks.search import search_scores_are_the_model_s
from regard.models import moe, transformer
from regard.protocol import Decodable, Dimensions
from regard.symbols import BOS, PAD
from regard.training.loss import sequence_loss

EXPERTS = {"number": 3, "used": 2}


def expert_transformer(**settings):
    return transformer_model(**({"experts": EXPERTS} | settings))


MAKERS = {
    "additive": moe_model,
    "dot, shallow": lambda **s: moe_model(**({"score": "dot", "encoder_layers": 2, "decoder_layers": 2} | s)),
    "transformer": expert_transformer,
    "pre-norm transformer": lambda **s: expert_transformer(**({"norm": "pre"} | s)),
}
makers = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


@pytest.mark.parametrize("score", ["dot", "scaled_dot", "multiplicative", "additive"])
def test_a_padded_batch_follows_the_equations_of_each_sentence(score):
    checks.follows_the_equations(score=score)


@makers
@pytest.mark.parametrize("check", INVARIANTS, ids=lambda check: check.__name__)
def test_it_keeps_the_invariant(check, make):
    check(make)


@pytest.mark.parametrize("check", [
    expert_checks.routes_follow_the_tokens,
    expert_checks.the_penalty_is_summed_over_target_tokens,
    search_scores_are_the_model_s,
], ids=lambda check: check.__name__)  # fmt: skip
@pytest.mark.parametrize("make", [moe_model, expert_transformer])
def test_it_keeps_what_only_experts_must(check, make):
    check(make)


@pytest.mark.parametrize("make", [moe_model, expert_transformer])
def test_every_layer_of_experts_has_its_site(make):
    sites = [routing.site for routing in make().routings(example())]
    if make is moe_model:
        assert sites == ["encoder.experts", "decoder.experts"]
    else:
        assert sites == [*(f"encoder.{n}.experts" for n in range(2)), *(f"decoder.{n}.experts" for n in range(3))]


def test_a_transformer_whose_experts_are_all_alike_is_the_plain_one():
    plain, mixed, batch = transformer_model(), expert_transformer(), example()
    for ours, theirs in zip([*mixed.encoder, *mixed.decoder], [*plain.encoder, *plain.decoder], strict=True):
        for network in ours.feed_forward.networks:
            network.load_state_dict(theirs.feed_forward.state_dict())
    shared = {name: value for name, value in plain.state_dict().items() if ".feed_forward." not in name}
    missing, unexpected = mixed.load_state_dict(shared, strict=False)
    assert not unexpected
    assert all(".feed_forward." in name for name in missing)
    real = batch.labels != PAD  # elsewhere no expert says anything
    torch.testing.assert_close(mixed(batch).logits[real], plain(batch).logits[real], rtol=0, atol=1e-9)
    assert plain.routings(batch) == []
    assert plain.train()(batch).penalty is None


def test_the_penalty_reaches_the_loss():
    model, batch = moe_model().train(), example()
    output = model(batch)
    total = sequence_loss(output, batch.labels).total
    without = sequence_loss(output._replace(penalty=None), batch.labels).total
    assert output.penalty is not None
    assert output.penalty > 0
    torch.testing.assert_close(total, without + output.penalty)


def small(kind):
    torch.manual_seed(1)
    experts = {"number": 3, "used": 2, "importance_weight": 0.01, "load_weight": 0.01}
    if kind == "moe":
        config = {"size": 24, "expert_size": 24, "encoder_layers": 2, "experts": experts, "dropout": 0.0}
        return moe.build(moe.Config.model_validate(config), Dimensions(SOURCE, TARGET))
    config = {"size": 32, "num_layers": 1, "num_heads": 4, "feed_forward_size": 16, "experts": experts, "dropout": 0.0}
    return transformer.build(transformer.Config.model_validate(config), Dimensions(SOURCE, TARGET))


@pytest.mark.parametrize(("kind", "rate"), [("moe", 0.03), ("transformer", 6e-3)])
def test_it_learns_a_batch_by_heart_and_says_it_again(kind, rate):
    model, batch = small(kind), example()
    optimizer = torch.optim.Adam(model.parameters(), rate, betas=(0.9, 0.98))
    for _ in range(80):
        optimizer.zero_grad()
        loss = sequence_loss(model(batch), batch.labels)
        (loss.total / loss.num_tokens).backward()
        optimizer.step()
    model.eval()
    assert float(sequence_loss(model(batch), batch.labels).nll) / batch.num_target_tokens < 0.01
    tokens, state = torch.full((3,), BOS), model.encode(batch.source)
    for labels in batch.labels.unbind(1):
        logits, state = model.step(state, tokens)
        tokens = torch.where(labels != 0, logits.argmax(-1), labels)
        assert tokens.equal(labels)


def test_one_matrix_for_embeddings_and_readout_where_asked():
    shared = moe_model(dimensions=Dimensions(11, 11, True), tied=True)
    assert shared.readout.weight is shared.decoder.embedding.weight is shared.encoder.embedding.weight
    two = moe_model(tied=True)
    assert two.readout.weight is two.decoder.embedding.weight is not two.encoder.embedding.weight
    assert moe_model().readout.weight is not moe_model().decoder.embedding.weight


def test_what_was_seen_reaches_every_layer_of_the_decoder_above_the_lowest():
    model, seen = moe_model(), []
    for layer in [*model.decoder.lower, model.decoder.top]:
        layer.recurrent.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0][..., 6:]))
    model(example())
    assert len(seen) == 2
    assert seen[0].equal(seen[1])
    assert seen[0].abs().sum() > 0


def test_it_can_be_searched():
    assert isinstance(moe_model(), Decodable)


@pytest.mark.parametrize(("settings", "message"), [
    ({"size": 7}, "multiple of 2"),
    ({"encoder_layers": 1}, "greater than or equal to 2"),
    ({"experts": {"number": 2, "used": 2}}, "nothing to choose"),
    ({"expert_sise": 3}, "Extra inputs"),
])  # fmt: skip
def test_settings_that_do_not_go_together_are_refused(settings, message):
    with pytest.raises(ValidationError, match=message):
        moe.Config.model_validate(settings)
