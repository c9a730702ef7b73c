"""ByteNet: the definition, what reaches what, what a step costs, and what dilation is good for."""

import pytest
import torch
from pydantic import ValidationError

from checks import bytenet as checks
from checks.bytenet import bytenet_model
from checks.making import UNSHARED, example
from checks.models import INVARIANTS, weights_are_probabilities
from checks.overfitting import learned_by_heart
from checks.search import search_scores_are_the_model_s
from regard.models import bytenet
from regard.protocol import Batch, Decodable, Dimensions
from regard.symbols import BOS, EOS

VARIANTS = {
    "relu": {},
    "multiplicative, added": {"block": "multiplicative", "join": "add"},
    "long kernel": {"kernel_size": 5, "max_dilation": 4, "decoder_sets": 2, "encoder_sets": 1},
    "no dilation, untied": {"max_dilation": 1, "decoder_sets": 3, "tied": False, "unfold_extra": 2},
    "tight": {"unfold_ratio": 1.0, "join": "add", "decoder_sets": 2},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_padded_batch_follows_the_equations_of_each_sentence(variant):
    checks.follows_the_equations(**VARIANTS[variant])


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("check", INVARIANTS, ids=lambda check: check.__name__)
def test_it_keeps_the_invariant(check, variant):
    if check is weights_are_probabilities:
        pytest.skip("no attention, no weights: the record stays empty, which another test says")
    check(lambda **settings: bytenet_model(**(VARIANTS[variant] | settings)))


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_record_stays_empty(variant):
    checks.the_record_stays_empty(**VARIANTS[variant])


@pytest.mark.parametrize("variant", ["relu", "multiplicative, added"])
def test_a_search_scores_what_the_model_says(variant):
    search_scores_are_the_model_s(lambda **settings: bytenet_model(**(VARIANTS[variant] | settings)))


@pytest.mark.parametrize("block", ["relu", "multiplicative"])
def test_only_the_receptive_field_is_seen(block):
    checks.only_the_receptive_field_is_seen(block=block)


@pytest.mark.parametrize(("sets", "field"), [(1, 63), (6, 373)])
def test_the_decoder_of_the_paper_s_shape_sees_exactly_so_far_back(sets, field):
    """1 + sum of (k - 1) * dilation; the paper says 315 for its 30 blocks, which this formula does not give."""
    model = bytenet_model(size=4, max_dilation=16, decoder_sets=sets, encoder_sets=1)
    length, place = field + 40, field + 20
    seen = checks.reach(checks.in_order(model.decoder.blocks), length=length, width=8, place=place)
    assert seen == list(range(place - field + 1, place + 1))


def test_the_encoder_sees_as_far_ahead_as_back():
    model = bytenet_model(size=4, max_dilation=16, encoder_sets=1)
    seen = checks.reach(checks.in_order(model.encoder.blocks), length=103, width=8, place=51)
    assert seen == list(range(51 - 31, 51 + 32))


@pytest.mark.parametrize("variant", VARIANTS)
def test_steps_go_on_beyond_the_bound(variant):
    checks.steps_go_on_beyond_the_bound(**VARIANTS[variant])


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_step_costs_the_same_at_any_time(variant):
    checks.a_step_costs_the_same_at_any_time(**VARIANTS[variant])


def test_every_past_is_as_long_as_its_convolution_reaches():
    checks.every_past_is_as_long_as_its_convolution_reaches()


@pytest.mark.parametrize(("ratio", "lengths", "bounds"), [
    (1.1, [10, 20, 11], [11, 22, 13]), (1.2, [5, 6, 1], [6, 8, 2]), (1.0, [7, 3, 2], [7, 3, 2]),
])  # fmt: skip
def test_the_bound_is_rounded_up_and_by_nothing_else(ratio, lengths, bounds):
    """In binary 1.1 * 10 is a little more than 11, and rounding that up would give 12."""
    model = bytenet_model(unfold_ratio=ratio, unfold_extra=3)
    source = example(source_lengths=tuple(lengths)).source
    mask = model.encoder._unfold(source)
    assert mask.sum(1).tolist() == [bound + 3 for bound in bounds]


def num_parameters(*modules):
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


@pytest.mark.parametrize(("preset", "blocks", "millions"), [("small", 20, 7.1), ("wmt", 60, 269.4)])
def test_the_blocks_have_the_number_of_parameters_that_the_shape_gives(preset, blocks, millions):
    config = bytenet.Config(preset=preset)
    with torch.device("meta"):
        model = bytenet.build(config, Dimensions(100, 100, True))
    assert len(model.encoder.blocks) + len(model.decoder.blocks) == blocks
    assert round(num_parameters(model.encoder.blocks, model.decoder.blocks) / 1e6, 1) == millions


def test_parameters_are_those_counted_by_hand():
    d, k = 800, 3
    narrow, convolution, widen = 2 * d * d + d, k * d * d + d, d * 2 * d + 2 * d
    norms = 2 * (2 * d) + 2 * d + 2 * d
    with torch.device("meta"):
        model = bytenet.build(bytenet.Config(preset="wmt"), Dimensions(300, 300, True))
    assert num_parameters(model.decoder.blocks[0]) == narrow + convolution + widen + norms == 4_489_600
    assert model.decoder.blocks[4].convolution.dilation == 16
    assert model.decoder.blocks[5].convolution.dilation == 1
    join, norm = 4 * d * 2 * d + 2 * d, 2 * 2 * d
    assert num_parameters(model) == 60 * 4_489_600 + 300 * 2 * d + 300 + join + 2 * norm


def test_a_preset_gives_what_is_not_said():
    assert bytenet.Config() == bytenet.Config(preset="small")
    wmt = bytenet.Config(preset="wmt", dropout=0.2)
    assert (wmt.size, wmt.encoder_sets, wmt.decoder_sets, wmt.kernel_size, wmt.max_dilation) == (800, 6, 6, 3, 16)
    assert (wmt.unfold_ratio, wmt.dropout, wmt.block) == (1.2, 0.2, "relu")
    assert bytenet.Config(**wmt.model_dump()) == wmt


@pytest.mark.parametrize(("settings", "message"), [
    ({"kernel_size": 4}, "kernel_size 4 is even"),
    ({"kernel_size": 1}, "greater than or equal to 3"),
    ({"max_dilation": 12}, "max_dilation 12 is not reached by doubling"),
    ({"unfold_ratio": 0.9}, "greater than or equal to 1"),
    ({"unfold_ratio": 1.2345}, "1.2345 is finer than a thousandth, which has no effect"),
    ({"preset": "huge"}, "'small' or 'wmt'"),
    ({"layers": 3}, "Extra inputs"),
])  # fmt: skip
def test_settings_that_do_not_go_together_are_refused(settings, message):
    with pytest.raises(ValidationError, match=message):
        bytenet.Config(**settings)


def test_one_matrix_for_embeddings_and_readout_unless_told_otherwise():
    one = bytenet_model(dimensions=Dimensions(11, 11, True))
    assert one.readout.weight is one.decoder.embedding.weight is one.encoder.embedding.weight
    two = bytenet_model()
    assert two.readout.weight is two.decoder.embedding.weight is not two.encoder.embedding.weight
    three = bytenet_model(dimensions=Dimensions(11, 11, True), tied=False)
    matrices = [three.readout.weight, three.decoder.embedding.weight, three.encoder.embedding.weight]
    assert len({matrix.data_ptr() for matrix in matrices}) == 3


def test_it_can_be_searched():
    assert isinstance(bytenet_model(), Decodable)


def test_an_empty_target_gets_the_first_word_only():
    assert bytenet_model()(Batch(torch.tensor([[5, EOS]]), torch.tensor([[BOS, EOS]]))).logits.shape == (1, 1, 11)


@pytest.mark.parametrize("block", ["relu", "multiplicative"])
def test_half_precision_is_close(block):
    model, batch = bytenet_model(block=block).float(), example()
    with torch.no_grad():
        exact = model(batch).logits
        with torch.autocast("cpu", torch.bfloat16):
            half = model(batch).logits
            stepped, _ = model.step(model.encode(batch.source), batch.decoder_input[:, 0])
    assert half.dtype == torch.bfloat16
    assert (half - exact).abs().mean() < 0.05 * exact.abs().mean()
    assert (stepped - half[:, 0]).abs().max() < 0.1 * exact.abs().max()


@pytest.mark.parametrize("settings", [{}, {"block": "multiplicative", "join": "add"}], ids=str)
def test_it_learns_one_batch_by_heart_and_says_it_again(settings):
    torch.manual_seed(0)
    sizes = {"size": 16, "max_dilation": 2, "encoder_sets": 1, "decoder_sets": 1, "dropout": 0.0}
    model = bytenet.build(bytenet.Config(**(sizes | settings)), UNSHARED)
    learned_by_heart(model, updates=120, learning_rate=0.005)


def learn_to_repeat(lag: int, **shape: int) -> float:
    """Train on streams whose every token is the one `lag` before; the share of new ones foretold."""
    torch.manual_seed(3)
    config = bytenet.Config(size=24, encoder_sets=1, dropout=0.0, **shape)
    model = bytenet.build(config, Dimensions(12, 12, True))
    generator = torch.Generator().manual_seed(2)

    def streams(number: int) -> Batch:
        period = torch.randint(EOS + 1, 12, (number, lag), generator=generator)
        target = torch.cat([torch.full((number, 1), BOS), period, period], 1)
        return Batch(torch.full((number, 1), EOS), target)

    def repeated(batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        return model(batch).logits[:, lag:], batch.labels[:, lag:]

    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    for _ in range(70):
        logits, labels = repeated(streams(64))
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten()).backward()
        optimizer.step()
    logits, labels = repeated(streams(200))
    return float((logits.argmax(-1) == labels).float().mean())


def test_three_blocks_remember_ten_tokens_back_if_dilated_and_cannot_if_not():
    """Dilations 1, 2, 4 see 14 positions back; 1, 1, 1 see 6, and can but guess (one in 8)."""
    assert learn_to_repeat(10, max_dilation=4, decoder_sets=1) > 0.95
    assert learn_to_repeat(10, max_dilation=1, decoder_sets=3) < 0.25
