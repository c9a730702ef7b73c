"""Bugs that a Deep-Att may have, planted one by one: the check of each must go red."""

from typing import Any

import pytest
import torch
from bugs import looking_after_the_step
from torch import Tensor

import regard.decoding.beam as beam
from checks import deep_att as checks
from checks import flops as flop_checks
from checks import models as model_checks
from checks import search
from checks.deep_att import deep_att_model
from checks.planted import Bug, green_then_red
from regard.attention.record import AttentionRecord
from regard.layers.dropout import Dropout
from regard.layers.recurrent import States
from regard.models import deep_att
from regard.models.deep_att import Decoder, Encoder, Layer


def with_model(check: Any) -> Any:
    return lambda _: check(deep_att_model)


EQUATIONS = lambda _: checks.follows_the_equations()  # noqa: E731
LINEAR = lambda _: checks.the_fast_way_is_linear()  # noqa: E731
COLUMNS = lambda _: checks.the_columns_read_against_each_other()  # noqa: E731
GRADIENT = lambda _: checks.the_gradient_reaches_the_bottom()  # noqa: E731
STEPS = with_model(model_checks.a_step_says_what_forward_says)
BEAMS = with_model(model_checks.beams_say_what_forward_says)
PADDING = with_model(model_checks.padding_changes_nothing)


def _second_half(right: Any) -> Any:
    return lambda self, inputs, *, half=True: (
        right(self, inputs, half=False)[..., -2 * checks.SIZE :] if half else right(self, inputs, half=False)
    )


def _bent(right: Any) -> Any:
    return lambda self, inputs, *, half=True: right(self, inputs, half=half).tanh()


def _cut(right: Any) -> Any:
    """The fast way is there, but nothing goes along it."""
    return lambda self, inputs, *, half=True: torch.zeros_like(right(self, inputs, half=half))


def _with_bias(right: Any) -> Any:
    def wrong(self: Layer, inputs: Tensor, *, half: bool = True) -> Tensor:
        made = right(self, inputs, half=half)
        return made + self.recurrent.kernel.bias_ih_l0[: made.size(-1)]

    return wrong


def _gated_before(right: Any) -> Any:
    """[h; Half(f)] instead of [Half(f); h]."""
    return lambda self, inputs, hidden: right(self, inputs, hidden).roll(checks.SIZE, -1)


def _always_forward(right: Any) -> Any:
    return lambda layer, inputs, order: right(layer, inputs, None)


def _columns_alike(right: Any) -> Any:
    return lambda self, column, words, order, backward: right(self, column, words, order, 0)


def _columns_swapped(right: Any) -> Any:
    return lambda self, column, words, order, backward: right(self, column, words, order, 1 - backward)


def _one_direction_a_column(right: Any) -> Any:
    """As in an ordinary encoder: one column only forward, the other only backward."""

    def wrong(self: Encoder, column: Any, words: Tensor, order: Tensor, backward: int) -> Any:
        inputs = words
        for layer in column:
            hidden, last = deep_att._read(layer, inputs, order if backward else None), inputs
            inputs = layer.above(inputs, hidden)
        return [hidden, layer.linear(last, half=False)]

    return wrong


def _not_put_back(right: Any) -> Any:
    """A backward layer's states stay in the order in which they were read."""
    return lambda layer, inputs, order: (
        right(layer, inputs, None) if order is None else layer.recurrent(inputs.gather(1, order.expand_as(inputs)))[0]
    )


def _mirrored_whole(right: Any) -> Any:
    return lambda lengths, length: right(torch.full_like(lengths, length), length)


def _by_column(right: Any) -> Any:
    """[h; f; h'; f'] instead of [h; h'; f; f']."""

    def wrong(self: Encoder, source: Tensor) -> Tensor:
        first, second, *fs = right(self, source).split([3, 3, 12, 12], -1)
        return torch.cat([first, fs[0], second, fs[1]], -1)

    return wrong


def _values_are_keys(right: Any) -> Any:
    """Only what is looked up is asked for; the values lose what the projection drops."""

    def wrong(self: Decoder, states: Tensor, mask: Tensor) -> Any:
        return right(self, torch.nn.functional.linear(self.key(states), self.key.weight.T), mask)

    return wrong


def _ones(right: Any) -> Any:
    def wrong(self: Any, num_rows: int) -> Any:
        lowest, *upper = right(self, num_rows)
        return lowest._replace(hidden=torch.ones_like(lowest.hidden)), *upper

    return wrong


def _left_behind(right: Any) -> Any:
    def wrong(self: Any, tokens: Tensor, memory: Any, carry: Any, record: Any) -> Any:
        output, new = right(self, tokens, memory, carry, record)
        return output, (*new[:2], carry[2])

    return wrong


def _stays(right: Any) -> Any:
    def wrong(tree: Any, rows: Tensor) -> Any:
        is_carry = isinstance(tree, tuple) and isinstance(tree[0], States) and len(tree[0].hidden) == len(rows)
        return tree if is_carry else right(tree, rows)

    return wrong


def _last_to_first(right: Any) -> Any:
    def wrong(self: Any, steps: AttentionRecord) -> None:
        for site in steps.sites:
            self.add(site, *(torch.cat(queries[::-1], 2) for queries in zip(*steps.calls(site), strict=True)))

    return wrong


BUGS = [
    Bug("Half is the second half", Layer, "linear", _second_half, EQUATIONS),
    Bug("f goes through a tanh", Layer, "linear", _bent, EQUATIONS),
    Bug("the same, seen on the linear way", Layer, "linear", _bent, LINEAR),
    Bug("nothing goes along the fast way", Layer, "linear", _cut, GRADIENT),
    Bug("f has the LSTM's bias", Layer, "linear", _with_bias, LINEAR),
    Bug("[h; f] instead of [f; h]", Layer, "above", _gated_before, EQUATIONS),
    Bug("no layer reads backward", deep_att, "_read", _always_forward, EQUATIONS),
    Bug("the same, seen word by word", deep_att, "_read", _always_forward, COLUMNS),
    Bug("both columns begin forward", Encoder, "_climb", _columns_alike, COLUMNS),
    Bug("the columns are swapped", Encoder, "_climb", _columns_swapped, COLUMNS),
    Bug("a column keeps its direction", Encoder, "_climb", _one_direction_a_column, EQUATIONS),
    Bug("backward states are not put back", deep_att, "_read", _not_put_back, COLUMNS),
    Bug("backward reading starts at the padding", deep_att, "reverse_within", _mirrored_whole, PADDING),
    Bug("e is put together column by column", Encoder, "forward", _by_column, EQUATIONS),
    Bug("the words above hear what is asked now", deep_att, "follow", looking_after_the_step, EQUATIONS),
    Bug("the same, seen in the search", deep_att, "follow", looking_after_the_step, STEPS),
    Bug("values are made of keys", Decoder, "remember", _values_are_keys, EQUATIONS),
    Bug("no padding mask in attention", deep_att, "padding_mask", lambda _: lambda source: source >= 0, PADDING),
    Bug("the first query is not 0", Decoder, "start", _ones, EQUATIONS),
    Bug("a layer left behind", Decoder, "step", _left_behind, STEPS),
    Bug("the carry is not reordered", model_checks, "select_rows", _stays, BEAMS),
    Bug("the carry is not reordered in the search", beam, "select_rows", _stays,
        with_model(search.search_scores_are_the_model_s)),
    Bug("steps recorded last to first", AttentionRecord, "add_steps", _last_to_first,
        with_model(model_checks.steps_record_what_forward_records)),
    Bug("no dropout in training", Dropout, "_active", lambda _: property(lambda self: False),
        with_model(model_checks.evaluation_is_deterministic)),
    Bug("what f costs is not counted", Layer, "linear_flops", lambda _: lambda self, rows, *, half=True: 0,
        lambda _: flop_checks.states_its_operations(deep_att_model(), flop_checks.sentences())),
]  # fmt: skip


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.what)
def test_the_check_is_green_without_the_bug_and_red_with_it(bug, monkeypatch):
    green_then_red(bug, monkeypatch)
