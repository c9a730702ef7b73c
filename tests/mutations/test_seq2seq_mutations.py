"""Bugs that encoder-decoders have had, planted one by one: the check of each must go red."""

from typing import Any

import pytest
import torch
from torch import Tensor

import regard.attention.additive as additive
import regard.decoding.beam as beam
import regard.layers.recurrent as recurrent
from checks import models as model_checks
from checks import recurrent as recurrent_checks
from checks import search
from checks import seq2seq as checks
from checks.planted import Bug, Change, green_then_red
from checks.seq2seq import seq2seq_model
from regard.attention.score import DotProduct, Multiplicative
from regard.layers.recurrent import LayerState, Recurrent, States
from regard.models import seq2seq
from regard.models.seq2seq import AttentionalState, Bridge, Carry, Decoder, Encoder
from regard.symbols import PAD

SAME = {"embedding_size": 6, "encoder_size": 6, "decoder_size": 6}  # wrong products fit too


def equations(**settings: object) -> Any:
    return lambda _: checks.follows_the_equations(**settings)


def padding(**settings: object) -> Any:
    return lambda _: model_checks.padding_changes_nothing(lambda: seq2seq_model(**settings))


def steps(**settings: object) -> Any:
    return lambda _: model_checks.a_step_says_what_forward_says(lambda: seq2seq_model(**settings))


def beams(**settings: object) -> Any:
    return lambda _: model_checks.beams_say_what_forward_says(lambda: seq2seq_model(**settings))


def _ignoring_lengths(*, outputs: bool, states: bool) -> Change:
    """Read the padding too, and keep the outputs, the states, or both, of that."""

    def change(right: Any) -> Any:
        def wrong(self: Any, inputs: Tensor, initial: States | None = None, lengths: Tensor | None = None) -> Any:
            real, padded = right(self, inputs, initial, lengths), right(self, inputs, initial, None)
            return (padded if outputs else real)[0], (padded if states else real)[1]

        return wrong

    return change


def _backward_from_the_padding(right: Any) -> Any:
    def wrong(self: Any, inputs: Tensor, states: States | None = None, lengths: Tensor | None = None) -> Any:
        outputs, final = right(self, inputs, states, lengths)
        half = outputs.size(-1) // 2 if self.kernel.bidirectional else outputs.size(-1)
        return torch.cat([outputs[..., :half], right(self, inputs, states, None)[0][..., half:]], -1), final

    return wrong


def _states_in_reading_order(right: Any) -> Any:
    def wrong(self: Any, source: Tensor) -> Any:
        states, final = right(self, source)
        order = seq2seq.reverse_within((source != PAD).sum(1), source.size(1))
        return states.gather(1, order.unsqueeze(-1).expand_as(states)), final

    return wrong


def _state_then_context(_: Any) -> Any:
    def wrong(self: Any, states: Tensor, memory: Any, record: Any) -> Tensor:
        context = self.attention(states.unsqueeze(1), memory, record=record).squeeze(1)
        return torch.tanh(self.combine(torch.cat([states, context], -1)))

    return wrong


def _without_tanh(_: Any) -> Any:
    def wrong(self: Any, states: Tensor, memory: Any, record: Any) -> Tensor:
        context = self.attention(states.unsqueeze(1), memory, record=record).squeeze(1)
        return self.combine(torch.cat([context, states], -1))

    return wrong


def _projected_again(right: Any) -> Any:
    return lambda self, query, keys, bias=None: right(self, query, self.project_keys(keys), bias)


def _never_remembered(right: Any) -> Any:
    def wrong(self: Any, states: Tensor, memory: Any, record: Any) -> Tensor:
        again = memory if memory is None else self.attend.remember(memory.values.squeeze(1), memory.mask)
        return right(self, states, again, record)

    return wrong


def _feeding(change: Any) -> Change:
    """`change` says what is fed to the next step, from the carry before and after this one."""

    def bug(right: Any) -> Any:
        def wrong(self: Any, inputs: Tensor, memory: Any, carry: Carry, record: Any) -> Any:
            output, after = right(self, inputs, memory, carry, record)
            return output, after if after.fed is None else after._replace(fed=change(carry, after))

        return wrong

    return bug


def _carry_not_reordered(right: Any) -> Any:
    """Hidden states move with the beams, what is fed back stays."""

    def wrong(tree: Any, rows: Tensor) -> Any:
        moved = right(tree, rows)
        stays = isinstance(tree, Carry) and tree.fed is not None and len(tree.fed) == len(rows)
        return moved._replace(fed=tree.fed) if stays else moved

    return wrong


def _nothing_reordered(right: Any) -> Any:
    def wrong(tree: Any, rows: Tensor) -> Any:
        return tree if isinstance(tree, Carry) and len(tree.states.hidden) == len(rows) else right(tree, rows)

    return wrong


def _with(cell: str, step: Any) -> Change:
    return lambda right: right | {cell: step(right[cell])}


def _swapped_gates(right: Any) -> Any:
    def swapped(gates: Tensor) -> Tensor:
        i, f, g, o = gates.chunk(4, -1)
        return torch.cat([i, g, f, o], -1)

    return lambda from_input, from_hidden, past: right(swapped(from_input), swapped(from_hidden), past)


def _gru_keeps_what_it_should_renew(right: Any) -> Any:
    def wrong(from_input: Tensor, from_hidden: Tensor, past: LayerState) -> LayerState:
        r_z_n = from_input.chunk(3, -1)
        hidden = from_hidden.chunk(3, -1)
        return right(
            torch.cat([r_z_n[0], -r_z_n[1], r_z_n[2]], -1), torch.cat([hidden[0], -hidden[1], hidden[2]], -1), past
        )

    return wrong


def _lower_layer_left_behind(right: Any) -> Any:
    def wrong(self: Any, inputs: Tensor, states: States) -> Any:
        output, new = right(self, inputs, states)
        return output, new._replace(hidden=torch.cat([states.hidden[:, :1], new.hidden[:, 1:]], 1))

    return wrong


PLAIN_BACKWARDS = {"bidirectional": False, "reverse_source": True, "cell": "gru"}

BUGS = [
    Bug("no padding mask in attention", seq2seq, "padding_mask", lambda _: lambda source: source >= 0, padding()),
    Bug("padding is read", Recurrent, "forward", _ignoring_lengths(outputs=True, states=True), padding()),
    Bug("the backward direction starts at the padding", Recurrent, "forward", _backward_from_the_padding, padding()),
    Bug(
        "the same, seen in the layer",
        Recurrent,
        "forward",
        _backward_from_the_padding,
        lambda _: recurrent_checks.padding_changes_nothing("lstm", bidirectional=True),
    ),
    Bug(
        "the last state is taken at the padding",
        Recurrent,
        "forward",
        _ignoring_lengths(outputs=False, states=True),
        padding(score="none"),
    ),
    Bug("[s; a] instead of [a; s]", AttentionalState, "forward", _state_then_context, equations(**SAME)),
    Bug("no tanh around W_c", AttentionalState, "forward", _without_tanh, equations()),
    Bug("keys projected twice", Multiplicative, "forward", _projected_again, equations(**SAME)),
    Bug(
        "keys projected at every step",
        Decoder,
        "_look",
        _never_remembered,
        lambda _: checks.keys_are_projected_once(score="additive"),
    ),
    Bug(
        "dot product scaled where it must not be",
        DotProduct,
        "forward",
        lambda right: lambda self, query, keys, bias=None: right(self, query / query.size(-1) ** 0.5, keys, bias),
        equations(score="dot", **SAME),
    ),
    Bug(
        "tanh of half of what it should be",
        additive,
        "_logistic",
        lambda right: lambda query, keys: right(query / 2, keys / 2),
        equations(score="additive"),
    ),
    Bug("the carry is not reordered", model_checks, "select_rows", _nothing_reordered, beams()),
    Bug(
        "the carry is not reordered in the search",
        beam,
        "select_rows",
        _nothing_reordered,
        lambda _: search.search_scores_are_the_model_s(seq2seq_model),
    ),
    Bug(
        "what is fed back is not reordered",
        model_checks,
        "select_rows",
        _carry_not_reordered,
        beams(input_feeding=True),
    ),
    Bug(
        "fed back two steps late",
        Decoder,
        "_advance",
        _feeding(lambda before, _: before.fed),
        equations(input_feeding=True),
    ),
    Bug(
        "the state s_t fed back instead of tanh(W_c [a; s])",
        Decoder,
        "_advance",
        _feeding(lambda _, after: after.states.hidden[:, -1]),
        equations(input_feeding=True),
    ),
    Bug(
        "reversed together with the padding",
        seq2seq,
        "reverse_within",
        lambda _: lambda lengths, length: torch.arange(length).flip(0).expand(len(lengths), -1),
        padding(**PLAIN_BACKWARDS),
    ),
    Bug(
        "not reversed at all",
        seq2seq,
        "reverse_within",
        lambda _: lambda lengths, length: torch.arange(length).expand(len(lengths), -1),
        equations(**PLAIN_BACKWARDS),
    ),
    Bug(
        "states left in reading order",
        Encoder,
        "forward",
        _states_in_reading_order,
        lambda _: checks.the_record_keeps_source_order(**PLAIN_BACKWARDS),
    ),
    Bug(
        "the bridge without tanh",
        Bridge,
        "forward",
        lambda _: (
            lambda self, final: States(
                seq2seq._layerwise(self.hidden, final.hidden), seq2seq._layerwise(self.cell, final.cell)
            )
        ),
        equations(),
    ),
    Bug(
        "the cell state does not cross the bridge",
        Bridge,
        "forward",
        lambda right: lambda self, final: right(self, final)._replace(cell=torch.zeros_like(right(self, final).cell)),
        equations(),
    ),
    Bug(
        "the bottom layers meet",
        seq2seq,
        "_meet_at_the_top",
        lambda _: lambda final, n: States(final.hidden[:, :n], final.cell[:, :n]),
        equations(encoder_layers=3),
    ),
    Bug("gates in TensorFlow's order", recurrent, "_EQUATIONS", _with("lstm", _swapped_gates), steps()),
    Bug(
        "a GRU that keeps what it should renew",
        recurrent,
        "_EQUATIONS",
        _with("gru", _gru_keeps_what_it_should_renew),
        steps(cell="gru"),
    ),
    Bug("a lower layer left behind", Recurrent, "step", _lower_layer_left_behind, steps()),
]


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.what)
def test_the_check_is_green_without_the_bug_and_red_with_it(bug, monkeypatch):
    green_then_red(bug, monkeypatch)
