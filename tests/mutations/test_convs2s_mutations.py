"""Bugs that ConvS2S has had or could have, planted one by one: the check of each must go red."""

from typing import Any

import pytest
import torch
from torch import Tensor

import regard.decoding.beam as beam
import regard.layers.gated_convolution as gated_convolution
from checks import convs2s as checks
from checks import models as model_checks
from checks import search
from checks.convs2s import convs2s_model
from checks.planted import Bug, green_then_red
from regard.attention.attention import Attention
from regard.attention.score import DotProduct
from regard.layers.gated_convolution import GatedConvolution
from regard.layers.positional_encoding import Learned
from regard.layers.weight_norm import WeightNorm
from regard.models import convs2s
from regard.models.convs2s import AttentionToSource, Carry, ConvS2S, Decoder, DecoderLayer, EncoderLayer


def with_model(check: Any, **settings: object) -> Any:
    return lambda _: check(lambda: convs2s_model(**settings))


def equations(_: Any) -> None:
    """Two layers a side are enough, and quicker."""
    sizes = {"encoder": checks.blocks((1, 5, 3), (1, 6, 3)), "decoder": checks.blocks((1, 4, 3), (1, 6, 2))}
    checks.follows_the_equations(share=1 / 4, **sizes)


LEAK = with_model(model_checks.the_future_does_not_leak)
PADDING = with_model(model_checks.padding_changes_nothing)
STEP = with_model(model_checks.a_step_says_what_forward_says)
BEAMS = with_model(model_checks.beams_say_what_forward_says)


def _padding_is_read(right: Any) -> Any:
    return lambda self, states, mask=None: right(self, states, None)


def _padding_is_zeroed_at_the_bottom_only(right: Any) -> Any:
    """As if the embeddings of padding were 0, and nobody thought of what a bias makes of them."""

    def wrong(self: Any, states: Tensor, mask: Tensor) -> Any:
        return right(self, states, mask if self.at_the_bottom else torch.ones_like(mask))

    return wrong


def _marked(right: Any) -> Any:
    """Tells the encoder's first layer from the others, for the bug above."""

    def wrong(self: Any, *sizes: Any, **options: Any) -> None:
        right(self, *sizes, **options)
        self.at_the_bottom = sizes[0] == 5 and sizes[1] == 5

    return wrong


def _memory_without_a_mask(right: Any) -> Any:
    return lambda self, keys, values, mask=None: right(self, keys, values, None)


def _values(change: Any) -> Any:
    """`change` makes the values from z, the right values, and the mask."""
    return lambda right: (
        lambda self, keys, values, mask=None: right(self, keys, change(keys, values, mask[:, None, :, None]), mask)
    )


def _num_words(mask: Tensor) -> Tensor:
    return mask.sum(2, keepdim=True).double()


def _ahead(right: Any) -> Any:
    def wrong(self: Any, *sizes: int, width: int, after: int, dropout: float = 0.0) -> None:
        right(self, *sizes, width=width, after=after or min(1, width - 1), dropout=dropout)

    return wrong


def _lopsided(right: Any) -> Any:
    def wrong(self: Any, *sizes: int, width: int, after: int, dropout: float = 0.0) -> None:
        right(self, *sizes, width=width, after=0, dropout=dropout)

    return wrong


def _too_much_padding_in_front(right: Any) -> Any:
    """The k elements at the end that the paper's text would remove, where it should be k - 1."""

    def wrong(self: Any, states: Tensor, mask: Tensor | None = None) -> Tensor:
        late = states if self.after else torch.cat([torch.zeros_like(states[:, :1]), states[:, :-1]], 1)
        return right(self, late, mask)

    return wrong


def _padded_with_a_number(right: Any) -> Any:
    """The number of the padding token (bentrevett's tutorial has 1) instead of 0 before the first word."""
    return lambda states, size, value=0.0: right(states, size, value=1.0)


def _past(change: Any) -> Any:
    """`change` makes what is remembered, from the past before and after the step."""

    def bug(right: Any) -> Any:
        def wrong(self: Any, state: Tensor, past: Tensor) -> Any:
            outputs, after = right(self, state, past)
            return outputs, change(past, after)

        return wrong

    return bug


def _in_place(right: Any) -> Any:
    def wrong(self: Any, state: Tensor, past: Tensor) -> Any:
        outputs, after = right(self, state, past)
        past.copy_(after)
        return outputs, past

    return wrong


def _always_at_the_start(right: Any) -> Any:
    return lambda self, tokens, memory, carry, record: right(
        self, tokens, memory, carry._replace(position=torch.zeros_like(carry.position)), record
    )


def _carry_not_reordered(right: Any) -> Any:
    def wrong(tree: Any, rows: Tensor) -> Any:
        return tree if isinstance(tree, Carry) and len(tree.position) == len(rows) else right(tree, rows)

    return wrong


def _bottom_layer_not_reordered(right: Any) -> Any:
    def wrong(tree: Any, rows: Tensor) -> Any:
        moved = right(tree, rows)
        stays = isinstance(tree, Carry) and len(tree.position) == len(rows)
        return moved._replace(pasts=(tree.pasts[0], *moved.pasts[1:])) if stays else moved

    return wrong


def _query_without_the_word(right: Any) -> Any:
    return lambda self, states, embedded, memory, record: right(
        self, states, torch.zeros_like(embedded), memory, record
    )


def _attends_after_the_residual(_: Any) -> Any:
    def wrong(self: Any, states: Tensor, embedded: Tensor, memory: Any, record: Any) -> Tensor:
        h = (self.convolution(states) + self.residual(states)) * convs2s.HALF_THE_VARIANCE
        return self.attend(h, embedded, memory, record)

    return wrong


def _scaled(right: Any) -> Any:
    def wrong(self: Any, query_size: int, key_size: int) -> None:
        right(self, query_size, key_size)
        self.scale = key_size**-0.5

    return wrong


def _one_attention_for_all(right: Any) -> Any:
    def wrong(self: Any, *arguments: Any) -> None:
        right(self, *arguments)
        for layer in self.layers:
            layer.attend = self.layers[0].attend

    return wrong


def _read_again(right: Any) -> Any:
    def wrong(self: Any, state: Any, tokens: Tensor, record: Any = None) -> Any:
        again = self.decoder.layers[0].attend.attention.remember(*state.memory[:3])
        return right(self, state._replace(memory=again), tokens, record)

    return wrong


def _everything_remembered(right: Any) -> Any:
    """A past that only grows; what is too old stands in front, and is cut off again before it is used."""

    def wrong(self: Any, state: Tensor, past: Tensor) -> Any:
        outputs, after = right(self, state, past[:, past.size(1) - self.before :])
        return outputs, torch.cat([past[:, :1], after], 1) if self.before else after

    return wrong


def _started_without(factor: float) -> Any:
    def change(right: Any) -> Any:
        def wrong(self: Any, *sizes: int, **options: Any) -> None:
            right(self, *sizes, **options)
            self.linear.parametrizations.weight.original0.data.mul_(factor)

        return wrong

    return change


BUGS = [
    # padding
    Bug("padding is convolved", GatedConvolution, "forward", _padding_is_read, PADDING),
    Bug("the memory has no mask", Attention, "remember", _memory_without_a_mask, PADDING),
    Bug(
        "m counts the padding",
        Attention,
        "remember",
        _values(lambda z, values, mask: values * (mask.size(2) / _num_words(mask)).sqrt()),
        PADDING,
    ),
    # the future, the past
    Bug("one ahead", GatedConvolution, "__init__", _ahead, LEAK),
    Bug("one late", GatedConvolution, "forward", _too_much_padding_in_front, STEP),
    Bug("the encoder looks back only", GatedConvolution, "__init__", _lopsided, equations),
    Bug("1 before the first word", gated_convolution.functional, "pad", _padded_with_a_number, STEP),
    Bug("the past is not moved on", GatedConvolution, "step", _past(lambda before, _: before), STEP),
    Bug("the past is forgotten", GatedConvolution, "step", _past(lambda _, after: torch.zeros_like(after)), STEP),
    Bug("the past is upside down", GatedConvolution, "step", _past(lambda _, after: after.flip(1)), STEP),
    Bug(
        "the past is written over",
        GatedConvolution,
        "step",
        _in_place,
        with_model(model_checks.a_state_is_not_changed_by_a_step),
    ),
    Bug(
        "everything is remembered",
        GatedConvolution,
        "step",
        _everything_remembered,
        lambda _: checks.a_step_costs_the_same_however_late(),
    ),
    Bug("every step is the first", Decoder, "step", _always_at_the_start, STEP),
    Bug("the carry is not reordered", model_checks, "select_rows", _carry_not_reordered, BEAMS),
    Bug("one layer's past is not reordered", model_checks, "select_rows", _bottom_layer_not_reordered, BEAMS),
    Bug(
        "the carry is not reordered in the search",
        beam,
        "select_rows",
        _carry_not_reordered,
        lambda _: search.search_scores_are_the_model_s(lambda: convs2s_model(max_length=20)),
    ),
    Bug(
        "the memory is made at every step",
        ConvS2S,
        "step",
        _read_again,
        lambda _: checks.a_step_costs_the_same_however_late(),
    ),
    # attention
    Bug("values without e", Attention, "remember", _values(lambda z, _, mask: z * _num_words(mask).sqrt()), equations),
    Bug(
        "no m sqrt(1/m)", Attention, "remember", _values(lambda _, values, mask: values / _num_words(mask).sqrt()),
        equations,
    ),
    Bug("a query without g", AttentionToSource, "forward", _query_without_the_word, equations),
    Bug("attention after the residual", DecoderLayer, "forward", _attends_after_the_residual, equations),
    Bug("scaled dot product", DotProduct, "__init__", _scaled, equations),
    Bug(
        "one attention for all layers",
        Decoder,
        "__init__",
        _one_attention_for_all,
        lambda _: _with_equal_sizes(checks.every_layer_has_an_attention_of_its_own),
    ),
    Bug(
        "all layers under one site",
        AttentionToSource,
        "__init__",
        lambda right: lambda self, *sizes, site: right(self, *sizes, site="decoder.cross"),
        lambda _: checks.every_layer_has_an_attention_of_its_own(),
    ),
    # layers
    Bug(
        "the gate is the first half",
        GatedConvolution,
        "_gated",
        lambda _: lambda self, windows: torch.nn.functional.glu(self.linear(windows).roll(
            self.linear.out_features // 2, -1), -1),
        equations,
    ),
    Bug("no square root of a half", convs2s, "HALF_THE_VARIANCE", lambda _: 1.0, equations),
    Bug(
        "no square root of a half (variance)",
        convs2s,
        "HALF_THE_VARIANCE",
        lambda _: 1.0,
        lambda _: checks.variance_stays(),
    ),
    Bug(
        "no 4 in the start", GatedConvolution, "__init__", _started_without(0.5),
        lambda _: checks.a_gate_passes_what_it_should(),
    ),
    Bug("no weight normalisation", WeightNorm, "forward", lambda _: lambda self, length, direction: direction,
        equations),
    Bug(
        "columns normalised",
        WeightNorm,
        "forward",
        lambda _: lambda self, length, direction: (
            length.unsqueeze(1) * direction / torch.linalg.vector_norm(direction, dim=0)
        ),
        equations,
    ),
    Bug(
        "positions dropped",
        Learned,
        "encode",
        lambda _: lambda self, start, stop: torch.zeros_like(self.weight[start:stop]),
        equations,
    ),
    Bug("the encoder's gradient is whole", convs2s, "scale_gradient", lambda _: lambda z, share: z, equations),
    Bug(
        "... is multiplied instead",
        convs2s,
        "scale_gradient",
        lambda right: lambda z, share: right(z, 1 / share),
        equations,
    ),
    Bug(
        "e's gradient is scaled too",
        Attention,
        "remember",
        lambda right: lambda self, keys, values, mask=None: right(
            self, keys, keys * 0 + convs2s.scale_gradient(values, 0.25), mask
        ),
        equations,
    ),
]  # fmt: skip


def _with_equal_sizes(check: Any) -> None:
    """A shared attention needs layers of one size."""
    sizes = checks.SIZES | {"decoder": checks.blocks((4, 6, 3))}
    before, checks.SIZES = checks.SIZES, sizes
    try:
        check()
    finally:
        checks.SIZES = before


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.what)
def test_the_check_is_green_without_the_bug_and_red_with_it(bug, monkeypatch):
    green_then_red(bug, monkeypatch)


def test_padding_zeroed_at_the_bottom_only_is_seen(monkeypatch):
    """fairseq zeroes it before every convolution, and must: a bias makes something of 0."""
    PADDING(None)
    monkeypatch.setattr(EncoderLayer, "__init__", _marked(EncoderLayer.__init__))
    monkeypatch.setattr(EncoderLayer, "forward", _padding_is_zeroed_at_the_bottom_only(EncoderLayer.forward))
    with pytest.raises(AssertionError):
        PADDING(None)


def test_variance_runs_away_without_the_square_root_of_a_half(monkeypatch):
    """More than a thousandfold through twenty layers."""
    torch.manual_seed(0)
    monkeypatch.setattr(convs2s, "HALF_THE_VARIANCE", 1.0)
    states = start = 0.1 * torch.randn(2, 30, 64)
    for _ in range(20):
        states = EncoderLayer(64, 64, width=3, dropout=0.0)(states, torch.ones(2, 30, dtype=torch.bool)).detach()
    assert states.var() > 1000 * start.var()
