"""Bugs that a text classifier may have, planted one by one: the check of each must go red."""

from typing import Any

import pytest
import torch
from torch.nn import functional

import regard.layers.pooling as pooling
from checks import text_classifier as checks
from checks.planted import Bug, green_then_red
from checks.text_classifier import text_classifier_model
from regard.attention.attention_pooling import AttentionPooling
from regard.layers.pooling import Read
from regard.layers.recurrent import Recurrent
from regard.models import text_classifier
from regard.models.text_classifier import ConvolutionReader, RecurrentReader, TextClassifier


def equations(**settings: Any) -> Any:
    return lambda _: checks.follows_the_equations(**settings)


def padding(**settings: Any) -> Any:
    return lambda _: checks.padding_changes_nothing(lambda: text_classifier_model(**settings))


def _read_from(place: int) -> Any:
    def change(right: Any) -> Any:
        def wrong(self: Any, words: Any, mask: Any) -> Read:
            read = right(self, words, mask)
            return Read(read.states, read.states[:, place])

        return wrong

    return change


def _with_padding(_: Any) -> Any:
    return lambda states, mask: states.mean(1)


def _max_with_zeros(_: Any) -> Any:
    return lambda states, mask: (states * mask.unsqueeze(-1)).amax(1)


def _unmasked(right: Any) -> Any:
    return lambda self, states, mask, record=None: right(self, states, torch.ones_like(mask), record)


def _window_behind(right: Any) -> Any:
    def wrong(self: Any, words: Any, mask: Any) -> Read:
        columns = words.transpose(1, 2)
        maps = [bank(functional.pad(columns, (0, w - 1))) for w, bank in zip(self.widths, self.filters, strict=True)]
        return Read(torch.cat(maps, 1).relu().transpose(1, 2))

    return wrong


def _true_convolution(right: Any) -> Any:
    """What mathematics calls a convolution: the filter turned round."""

    def wrong(self: Any, words: Any, mask: Any) -> Read:
        read = right(self, words.flip(1), mask.flip(1))
        return Read(read.states.flip(1))

    return wrong


BUGS = [
    Bug("the last state is that of the padding", RecurrentReader, "forward", _read_from(-1), padding(preset="rnn")),
    Bug("the last state is the first", RecurrentReader, "forward", _read_from(0), equations(preset="lstm")),
    Bug(
        "the backward direction starts at the padding",
        Recurrent,
        "forward",
        lambda right: lambda self, inputs, states=None, lengths=None: right(self, inputs, states),
        padding(preset="attention"),
    ),
    Bug("the mean counts padding", pooling, "mean_over_time", _with_padding, padding(preset="fully_connected")),
    Bug("the greatest is at least 0", pooling, "max_over_time", _max_with_zeros,
        equations(preset="lstm", pooling="max")),
    Bug("padding competes for the greatest", pooling, "max_over_time", lambda _: lambda states, mask: states.amax(1),
        padding()),
    Bug("no mask in attention", AttentionPooling, "forward", _unmasked, padding(preset="attention")),
    Bug("windows begin at their word", ConvolutionReader, "forward", _window_behind, equations()),
    Bug("filters turned round", ConvolutionReader, "forward", _true_convolution, equations()),
    Bug("no hidden layer", TextClassifier, "_pool", lambda right: lambda self, *a: right(self, *a) * 1.01,
        equations(preset="fully_connected")),
    Bug("hidden layers without relu", torch.Tensor, "relu", lambda _: lambda self: self,
        lambda _: _exclusive_or_is_learnt()),
    Bug("the words' mask is left out", text_classifier, "padding_mask", lambda _: lambda source: source >= 0,
        padding(preset="fully_connected")),
]  # fmt: skip


def _exclusive_or_is_learnt() -> None:
    assert checks.exclusive_or(hidden_layers=1) == 1


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.what)
def test_the_check_is_green_without_the_bug_and_red_with_it(bug, monkeypatch):
    green_then_red(bug, monkeypatch)
