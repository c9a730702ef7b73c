"""ConvS2S: against its equations, and what the paper says of its sizes, its start and its dropout."""

import math

import pytest
import torch
from pydantic import ValidationError
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

from checks import convs2s as checks
from checks.convs2s import EQUAL, blocks, convs2s_model
from checks.half_precision import half_precision_is_close
from checks.making import SOURCE, TARGET, UNSHARED, example
from checks.models import INVARIANTS
from checks.overfitting import learned_by_heart
from checks.search import search_scores_are_the_model_s
from regard.errors import DataError, UserError
from regard.layers.gated_convolution import GatedConvolution
from regard.models import convs2s
from regard.protocol import Decodable, Dimensions
from regard.symbols import BOS

VARIANTS = {
    "all sizes differ": {},
    "all sizes equal": EQUAL,
    "tied": EQUAL | {"tied": True},
}
SHARES = {"whole": 1.0, "per_attention": 1 / 4, "per_use": 1 / 8}


def num_parameters(preset, vocabulary, *, shared=False):
    with torch.device("meta"):
        model = convs2s.build(convs2s.Config(preset=preset), Dimensions(vocabulary, vocabulary, shared))
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("encoder_gradient", SHARES)
def test_a_padded_batch_follows_the_equations_of_each_sentence(encoder_gradient):
    checks.follows_the_equations(share=SHARES[encoder_gradient], encoder_gradient=encoder_gradient)


def test_it_follows_them_with_equal_sizes_and_tied_matrices_too():
    checks.follows_the_equations(share=1 / 6, tied=True, **EQUAL)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("check", INVARIANTS, ids=lambda check: check.__name__)
def test_it_keeps_the_invariant(check, variant):
    check(lambda **settings: convs2s_model(**(VARIANTS[variant] | settings)))


def test_a_search_scores_what_the_model_says():
    search_scores_are_the_model_s(lambda: convs2s_model(max_length=20))


@pytest.mark.parametrize(
    "check",
    [
        checks.every_layer_has_an_attention_of_its_own,
        checks.a_step_costs_the_same_however_late,
        checks.variance_stays,
        checks.a_gate_passes_what_it_should,
        checks.z_sees_as_far_as_its_windows,
    ],
    ids=lambda check: check.__name__,
)
def test_it_keeps_what_only_a_convs2s_must(check):
    check()


def test_a_late_step_needs_as_many_operations_as_an_early_one():
    model, counts = convs2s_model(), []
    state, tokens = model.encode(example().source), torch.full((3,), BOS)
    for _ in range(12):
        with FlopCounterMode(display=False) as counter:
            _, state = model.step(state, tokens)
        counts.append(counter.get_total_flops())
    assert counts[0] > 0
    assert set(counts) == {counts[0]}


@pytest.mark.parametrize(("preset", "receptive_field"), [("wmt14-en-de", 27), ("wmt14-en-fr", 25)])
def test_the_paper_s_encoders_see_as_far_as_the_paper_says(preset, receptive_field):
    config = convs2s.Config(preset=preset)
    assert config.encoder == config.decoder
    assert 1 + sum(group.layers * (group.width - 1) for group in config.encoder) == receptive_field


def test_the_presets_have_their_numbers_of_parameters():
    assert round(num_parameters("wmt14-en-de", 40_000) / 1e6, 1) == 154.5
    assert round(num_parameters("small", 8_000, shared=True) / 1e6, 1) == 7.1


def test_parameters_are_those_counted_by_hand():
    def linear(inputs, outputs):
        return (inputs + 2) * outputs  # v, g and the bias

    encoder = linear(6, 5) + 2 * linear(3 * 5, 2 * 5) + linear(5 * 5, 2 * 7) + linear(5, 7) + linear(7, 6)
    convolutions = 2 * linear(3 * 4, 2 * 4) + linear(2 * 4, 2 * 8) + linear(4, 8) + linear(8, 2 * 8)
    attentions = 2 * (linear(4, 6) + linear(6, 4)) + 2 * (linear(8, 6) + linear(6, 8))
    decoder = linear(6, 4) + convolutions + attentions + linear(8, 6) + linear(6, TARGET)
    lookups = (SOURCE + TARGET + 2 * 16) * 6
    assert sum(parameter.numel() for parameter in convs2s_model().parameters()) == encoder + decoder + lookups


def test_it_starts_as_the_paper_says():
    torch.manual_seed(0)
    sizes = {"embedding_size": 64, "encoder": blocks((2, 96, 3)), "decoder": blocks((1, 96, 3), (1, 48, 1))}
    model = convs2s.build(convs2s.Config(tied=False, dropout=0.4, **sizes), Dimensions(500, 500))
    expected = {
        "encoder.embedded.words": 0.1,
        "encoder.embedded.positions": 0.1,
        "decoder.embedded.words": 0.1,
        "decoder.embedded.positions": 0.1,
        "encoder.enter": math.sqrt(0.6 / 64),
        "encoder.layers.1.convolution.linear": math.sqrt(4 * 0.6 / (3 * 96)),
        "encoder.leave": math.sqrt(1 / 96),
        "decoder.enter": math.sqrt(0.6 / 64),
        "decoder.layers.1.convolution.linear": math.sqrt(4 * 0.6 / 96),
        "decoder.layers.1.residual": math.sqrt(1 / 96),
        "decoder.layers.1.attend.query": math.sqrt(1 / 48),
        "decoder.layers.0.attend.output": math.sqrt(1 / 64),
        "decoder.leave": math.sqrt(1 / 48),
        "readout": math.sqrt(0.6 / 64),
    }
    for name, std in expected.items():
        weight = model.get_submodule(name).weight.detach()
        assert weight.std().item() == pytest.approx(std, rel=0.06), name
        assert abs(weight.mean().item()) < 0.1 * std, name
    biases = [parameter for name, parameter in model.named_parameters() if name.endswith("bias")]
    assert biases
    assert all((bias == 0).all() for bias in biases)


def test_every_matrix_but_the_lookups_is_weight_normalised():
    model = convs2s_model()
    plain = [name for name, parameter in model.named_parameters() if parameter.ndim > 1 and "original" not in name]
    lookups = ["words", "positions"]
    assert plain == [f"{side}.embedded.{name}.weight" for side in ("encoder", "decoder") for name in lookups]
    lengths = [parameter for name, parameter in model.named_parameters() if name.endswith("original0")]
    assert all(parameter.ndim == 1 for parameter in lengths), "weight decay would pull the lengths to 0"


def test_dropout_falls_where_the_paper_lets_it_fall():
    model = convs2s.build(convs2s.Config(dropout=0.25), Dimensions(9, 9))
    dropped = [name for name, module in model.named_modules() if getattr(module, "probability", 0.0) == 0.25]
    convolutions = [f"{side}.layers.{n}.convolution.dropout" for side in ("encoder", "decoder") for n in range(5)]
    assert sorted(dropped) == sorted(
        ["encoder.embedded.dropout", "decoder.embedded.dropout", "decoder.dropout", *convolutions]
    )


def test_one_matrix_for_embeddings_and_readout_where_asked():
    shared = convs2s_model(tied=True, dimensions=Dimensions(11, 11, True))
    words = shared.decoder.embedded.words
    assert shared.readout.weight is words.weight is shared.encoder.embedded.words.weight
    two = convs2s_model(tied=True)
    assert two.readout.weight is two.decoder.embedded.words.weight is not two.encoder.embedded.words.weight
    loaded = convs2s_model(tied=True)
    loaded.load_state_dict(two.state_dict())
    assert_close(loaded(example()).logits, two(example()).logits, rtol=0, atol=0)


def test_a_preset_gives_what_is_not_said():
    assert convs2s.Config() == convs2s.Config(preset="small")
    config = convs2s.Config(preset="wmt14-en-fr", dropout=0.3)
    assert (config.embedding_size, config.dropout, config.tied, config.max_length) == (512, 0.3, False, 1024)
    assert sum(group.layers for group in config.decoder) == 14
    assert convs2s.Config(**config.model_dump()) == config


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"encoder": blocks((1, 8, 4))}, "an encoder's width must be odd.*but one is 4"),
        ({"encoder": []}, "at least 1 item"),
        ({"decoder": blocks((0, 8, 3))}, "greater than 0"),
        ({"preset": "huge"}, "'small', 'wmt14-en-de' or 'wmt14-en-fr'"),
        ({"encoder_gradient": "half"}, "'whole', 'per_attention' or 'per_use'"),
        ({"layers": 3}, "Extra inputs"),
    ],
    ids=str,
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(ValidationError, match=message):
        convs2s.Config(**settings)


def test_a_window_that_does_not_hold_its_future_is_refused():
    with pytest.raises(ValueError, match="room for 0 to 2"):
        GatedConvolution(4, 4, width=3, after=3)


def test_a_text_beyond_the_learned_positions_is_refused_while_stepping_too():
    model = convs2s_model(max_length=6)
    with pytest.raises(DataError, match="a text of 8 tokens") as error:
        model(example(source_lengths=(8,), target_lengths=(4,)))
    assert isinstance(error.value, UserError)
    state = model.encode(example().source)
    for _ in range(6):
        _, state = model.step(state, torch.full((3,), BOS))
    with pytest.raises(DataError, match="a text of 7 tokens"):
        model.step(state, torch.full((3,), BOS))


def test_it_can_be_searched():
    assert isinstance(convs2s_model(), Decodable)


def test_16_bits_say_nearly_what_32_say():
    torch.manual_seed(0)
    sizes = {"embedding_size": 32, "encoder": blocks((3, 32, 3)), "decoder": blocks((3, 32, 3)), "dropout": 0.0}
    model = convs2s.build(convs2s.Config(tied=False, **sizes), UNSHARED)
    half_precision_is_close(model, tolerance=0.03)


@pytest.mark.parametrize("tied", [False, True])
def test_it_learns_a_batch_by_heart_and_says_it_again(tied):
    torch.manual_seed(0)
    sizes = {"embedding_size": 24, "encoder": blocks((2, 32, 3)), "decoder": blocks((2, 32, 3)), "dropout": 0.0}
    model = convs2s.build(convs2s.Config(tied=tied, **sizes), UNSHARED)
    learned_by_heart(model, updates=120, learning_rate=0.01)
