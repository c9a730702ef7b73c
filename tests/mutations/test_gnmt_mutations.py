"""Bugs that a GNMT may have, planted one by one: the check of each must go red."""

from typing import Any

import pytest
import torch
from bugs import looking_after_the_step
from torch import Tensor

import regard.decoding.beam as beam
import regard.layers.recurrent as recurrent
from checks import gnmt as checks
from checks import models as model_checks
from checks import search
from checks.gnmt import gnmt_model
from checks.planted import Bug, green_then_red
from regard.attention.record import AttentionRecord
from regard.layers.dropout import Dropout
from regard.layers.recurrent import LayerState, Recurrent, States
from regard.models import gnmt
from regard.models.gnmt import Decoder, Encoder


def with_model(check: Any) -> Any:
    return lambda _: check(gnmt_model)


EQUATIONS = lambda _: checks.follows_the_equations()  # noqa: E731
STEPS = with_model(model_checks.a_step_says_what_forward_says)
BEAMS = with_model(model_checks.beams_say_what_forward_says)
PADDING = with_model(model_checks.padding_changes_nothing)


def _context_before_word(_: Any) -> Any:
    def wrong(layer: Recurrent, inputs: Tensor, states: States, look: Any) -> Any:
        outputs, contexts = [], []
        for vector in inputs.unbind(1):
            contexts.append(look(states.hidden[:, -1]))
            output, states = layer.step(torch.cat([contexts[-1], vector], -1), states)
            outputs.append(output)
        return torch.stack(outputs, 1), torch.stack(contexts, 1), states

    return wrong


def _rising(residual: Any) -> Any:
    """`residual(number, output, below, contexts)` is what a layer above the bottom passes on."""

    def change(_: Any) -> Any:
        def wrong(self: Any, states: Tensor, contexts: Tensor, layer: Any) -> Tensor:
            for number in range(len(self.upper)):
                output = layer(number, torch.cat([states, contexts], -1))
                states = residual(number, output, states, contexts)
            return states

        return wrong

    return change


def _deaf_above(right: Any) -> Any:
    return lambda self, states, contexts, layer: right(self, states, torch.zeros_like(contexts), layer)


def _without_residual(_: Any) -> Any:
    def wrong(self: Any, source: Tensor) -> Tensor:
        states, _ = self.bottom(self.embedding(source), lengths=(source != 0).sum(1))
        for layer in self.upper:
            states, _ = layer(states)
        return states

    return wrong


def _reading_the_padding(right: Any) -> Any:
    return lambda self, inputs, states=None, lengths=None: right(self, inputs, states, None)


def _ones(right: Any) -> Any:
    def wrong(self: Any, batch_size: int) -> Any:
        bottom, *upper = right(self, batch_size)
        return bottom._replace(hidden=torch.ones_like(bottom.hidden)), *upper

    return wrong


def _left_behind(right: Any) -> Any:
    """The third layer of the decoder does not move on."""

    def wrong(self: Any, tokens: Tensor, memory: Any, carry: Any, record: Any) -> Any:
        output, new = right(self, tokens, memory, carry, record)
        return output, (*new[:2], carry[2], *new[3:])

    return wrong


def _stays(layers: slice) -> Any:
    """Of the carry, a tuple of one `States` a layer, these are not moved with their beams."""

    def change(right: Any) -> Any:
        def wrong(tree: Any, rows: Tensor) -> Any:
            moved = right(tree, rows)
            is_carry = isinstance(tree, tuple) and isinstance(tree[0], States) and len(tree[0].hidden) == len(rows)
            return (
                tuple(
                    old if number in range(*layers.indices(len(tree))) else new
                    for number, (old, new) in enumerate(zip(tree, moved, strict=True))
                )
                if is_carry
                else moved
            )

        return wrong

    return change


def _swapped_gates(right: Any) -> Any:
    def swapped(gates: Tensor) -> Tensor:
        i, f, g, o = gates.chunk(4, -1)
        return torch.cat([i, g, f, o], -1)

    def step(from_input: Tensor, from_hidden: Tensor, past: LayerState) -> LayerState:
        return right["lstm"](swapped(from_input), swapped(from_hidden), past)

    return right | {"lstm": step}


def _last_to_first(right: Any) -> Any:
    def wrong(self: Any, steps: AttentionRecord) -> None:
        for site in steps.sites:
            self.add(site, *(torch.cat(queries[::-1], 2) for queries in zip(*steps.calls(site), strict=True)))

    return wrong


BUGS = [
    Bug("the layers above hear what the bottom asks now", gnmt, "follow", looking_after_the_step, EQUATIONS),
    Bug("the same, seen in the search", gnmt, "follow", looking_after_the_step, STEPS),
    Bug("[context; word] instead of [word; context]", gnmt, "follow", _context_before_word, EQUATIONS),
    Bug("a residual around the second layer", Decoder, "_rise", _rising(lambda n, o, b, c: o + b), EQUATIONS),
    Bug("the same, seen with silent layers", Decoder, "_rise", _rising(lambda n, o, b, c: o),
        lambda _: checks.silent_layers_are_transparent()),
    Bug("no residual in the decoder", Decoder, "_rise", _rising(lambda n, o, b, c: o), EQUATIONS),
    Bug("residuals from the fourth layer on", Decoder, "_rise",
        _rising(lambda n, o, b, c: o + b if n > 1 else o), EQUATIONS),
    Bug("the residual adds the context, not the state", Decoder, "_rise",
        _rising(lambda n, o, b, c: o + c if n else o), EQUATIONS),
    Bug("the layers above are deaf", Decoder, "_rise", _deaf_above,
        lambda _: checks.every_decoder_layer_hears_the_context()),
    Bug("no residual in the encoder", Encoder, "forward", _without_residual, EQUATIONS),
    Bug("the backward direction starts at the padding", Recurrent, "forward", _reading_the_padding, PADDING),
    Bug("no padding mask in attention", gnmt, "padding_mask", lambda _: lambda source: source >= 0, PADDING),
    Bug("the first query is not 0", Decoder, "start", _ones, EQUATIONS),
    Bug("a layer left behind", Decoder, "step", _left_behind, STEPS),
    Bug("gates in TensorFlow's order", recurrent, "_EQUATIONS", _swapped_gates, EQUATIONS),
    Bug("the carry is not reordered", model_checks, "select_rows", _stays(slice(None)), BEAMS),
    Bug("the bottom's state is not reordered", model_checks, "select_rows", _stays(slice(1)), BEAMS),
    Bug("the carry is not reordered in the search", beam, "select_rows", _stays(slice(None)),
        with_model(search.search_scores_are_the_model_s)),
    Bug("steps recorded last to first", AttentionRecord, "add_steps", _last_to_first,
        with_model(model_checks.steps_record_what_forward_records)),
    Bug("no dropout in training", Dropout, "_active", lambda _: property(lambda self: False),
        with_model(model_checks.evaluation_is_deterministic)),
]  # fmt: skip


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.what)
def test_the_check_is_green_without_the_bug_and_red_with_it(bug, monkeypatch):
    green_then_red(bug, monkeypatch)
