"""Bugs that an ELMo may have, planted one by one: the check of each must go red."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import regard.layers.bidirectional_lm as bidirectional_lm
import regard.layers.projected_lstm as projected_lstm
from checks import elmo as checks
from checks.planted import Bug, green_then_red
from regard.layers.bidirectional_lm import BidirectionalReader, Direction, Read
from regard.layers.character_convolution import CharacterConvolution
from regard.layers.highway import Highway
from regard.layers.projected_lstm import ProjectedLSTM
from regard.layers.recurrent import LayerState
from regard.models import elmo
from regard.symbols import PAD

EQUATIONS = lambda _: checks.follows_the_equations()  # noqa: E731
PREDICTS = lambda _: checks.predicts_what_it_says()  # noqa: E731
LEAK = lambda _: checks.no_direction_sees_what_it_predicts()  # noqa: E731
NEIGHBOURS = lambda _: checks.neighbours_change_nothing()  # noqa: E731
CLIPPING = lambda _: checks.clipping_bites()  # noqa: E731
KERNEL = lambda _: checks.is_torch_s_lstm_with_a_projection()  # noqa: E731


def _carrying(right: Any) -> Any:
    """AllenNLP's gate multiplies what is carried: the sign is the other."""
    return lambda self, x: torch.lerp(self.transform(x).relu(), x, self.gate(x).sigmoid())


def _without_relu(right: Any) -> Any:
    return lambda self, x: torch.lerp(x, self.transform(x), self.gate(x).sigmoid())


def _windows_over_padding(right: Any) -> Any:
    """Windows may begin behind the word's end, where the longest word of the batch decides how many there are."""

    def wrong(self: Any, letters: Tensor) -> Tensor:
        embedded = self.embedding(letters).transpose(1, 2)
        found = [
            convolution(nn.functional.pad(embedded, (0, convolution.kernel_size[0] - 1))).amax(2)
            for convolution in self.convolutions
        ]
        features = torch.cat(found, 1).relu()
        for highway in self.highways:
            features = highway(features)
        return features

    return wrong


def _windows_inside_only(right: Any) -> Any:
    """The whole window must lie in the word, as far as the batch is long."""

    def wrong(self: Any, letters: Tensor) -> Tensor:
        is_there = letters != PAD
        embedded = self.embedding(letters).masked_fill(~is_there.unsqueeze(2), 0.0).transpose(1, 2)
        found = []
        for convolution in self.convolutions:
            missing = max(0, convolution.kernel_size[0] - letters.size(1))
            found.append(convolution(nn.functional.pad(embedded, (0, missing))).amax(2))
        features = torch.cat(found, 1).relu()
        for highway in self.highways:
            features = highway(features)
        return features

    return wrong


def _gates(order: str) -> Any:
    """The gates stand in another order."""

    def change(right: Any) -> Any:
        def wrong(self: Any, from_input: Tensor, past: LayerState) -> LayerState:
            found = dict(zip(order, (from_input + self.hidden(past.hidden)).chunk(4, -1), strict=True))
            cell = found["f"].sigmoid() * past.cell + found["i"].sigmoid() * found["g"].tanh()
            cell = projected_lstm._clip(cell, self.cell_clip)
            hidden = self.project(found["o"].sigmoid() * cell.tanh())
            return LayerState(projected_lstm._clip(hidden, self.projection_clip), cell)

        return wrong

    return change


def _stateful(right: Any) -> Any:
    """What was read last is still there at the next call."""
    kept: dict[int, Tensor] = {}

    def wrong(self: Any, inputs: Tensor) -> Tensor:
        before = kept.get(id(self))
        if before is not None and len(before) == len(inputs):
            inputs = torch.cat([before[:, -1:], inputs], 1)
            outputs = right(self, inputs)[:, 1:]
        else:
            outputs = right(self, inputs)
        kept[id(self)] = inputs
        return outputs

    return wrong


def _residual(adds: Any) -> Any:
    def change(_: Any) -> Any:
        def wrong(self: Any, states: Tensor) -> list[Tensor]:
            found: list[Tensor] = []
            for number, layer in enumerate(self.layers):
                states = adds(number, layer(states), states)
                found.append(states)
            return found

        return wrong

    return change


def _backward_from_the_padding(_: Any) -> Any:
    return lambda lengths, length: (length - 1 - torch.arange(length)).expand(len(lengths), -1)


def _not_turned_back(right: Any) -> Any:
    def wrong(self: Any, source: Tensor) -> Read:
        read = right(self, source)
        return read._replace(backward=[states.flip(1) for states in read.backward])

    return wrong


def _unhidden(right: Any) -> Any:
    def wrong(self: Any, source: Tensor) -> Read:
        read = right(self, source)
        return read._replace(forward=[states + (states == 0) for states in read.forward])

    return wrong


def _predicting(shift_left: int, shift_right: int) -> Any:
    """The states that are read out stand beside the right ones."""

    def change(_: Any) -> Any:
        def wrong(read: Read) -> Tensor:
            there, back = read.forward[-1], read.backward[-1]
            places = there.size(1) - 1
            label = torch.arange(places).expand(len(there), -1)
            behind = torch.where(label < read.num_words.unsqueeze(1), label + 2 + shift_right, 1).clamp(0, places)
            from_right = back.gather(1, behind.unsqueeze(-1).expand(-1, -1, back.size(2)))
            return torch.cat([there[:, shift_left : places + shift_left], from_right])

        return wrong

    return change


def _lower_layer(_: Any) -> Any:
    right = elmo._voices
    return lambda read: right(read._replace(forward=read.forward[:-1], backward=read.backward[:-1]))


BUGS = [
    Bug("the gate is the carry's", Highway, "forward", _carrying, EQUATIONS),
    Bug("a highway without relu", Highway, "forward", _without_relu, EQUATIONS),
    Bug("windows over padding", CharacterConvolution, "_features", _windows_over_padding, NEIGHBOURS),
    Bug("windows within the longest word", CharacterConvolution, "_features", _windows_inside_only, NEIGHBOURS),
    Bug("gates in TensorFlow's order", ProjectedLSTM, "_step", _gates("igfo"), EQUATIONS),
    Bug("the same, seen beside torch's kernel", ProjectedLSTM, "_step", _gates("igfo"), KERNEL),
    Bug("nothing is clipped", projected_lstm, "_clip", lambda _: lambda values, bound: values, CLIPPING),
    Bug("clipped from above only", projected_lstm, "_clip",
        lambda _: lambda values, bound: values if bound is None else values.clamp(max=bound), EQUATIONS),
    Bug("a state is kept", ProjectedLSTM, "forward", _stateful, NEIGHBOURS),
    Bug("no residual", Direction, "forward", _residual(lambda n, o, b: o), EQUATIONS),
    Bug("a residual around the lowest layer", Direction, "forward", _residual(lambda n, o, b: o + b), EQUATIONS),
    Bug("backward starts at the padding", bidirectional_lm, "reverse_within", _backward_from_the_padding, EQUATIONS),
    Bug("the same, seen beside neighbours", bidirectional_lm, "reverse_within", _backward_from_the_padding, NEIGHBOURS),
    Bug("backward states stay in their order", BidirectionalReader, "forward", _not_turned_back, EQUATIONS),
    Bug("something stands at padding", BidirectionalReader, "forward", _unhidden, EQUATIONS),
    Bug("the left predicts what it has read", elmo, "_voices", _predicting(1, 0), LEAK),
    Bug("the right predicts what it has read", elmo, "_voices", _predicting(0, -1), LEAK),
    Bug("the right predicts two words further", elmo, "_voices", _predicting(0, 1), PREDICTS),
    Bug("a lower layer predicts", elmo, "_voices", _lower_layer, PREDICTS),
]  # fmt: skip


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.what)
def test_the_check_is_green_without_the_bug_and_red_with_it(bug, monkeypatch):
    green_then_red(bug, monkeypatch)
