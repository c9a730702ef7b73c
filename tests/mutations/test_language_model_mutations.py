"""Bugs that a language model and its noise may have, planted one by one: the check of each must go red."""

from typing import Any

import pytest
import torch
from torch.nn import functional

import regard.layers.awd_lstm as awd_lstm
import regard.layers.recurrent as recurrent
from checks import language_model as checks
from checks import models as model_checks
from checks.language_model import language_model_model
from checks.planted import Bug, green_then_red
from regard.layers.awd_lstm import AwdReader, LockedDropout, WeightDropped
from regard.models import language_model
from regard.models.language_model import LanguageModel
from regard.protocol import Output, State

STEPS = lambda _: model_checks.a_step_says_what_forward_says(language_model_model)  # noqa: E731
EQUATIONS = lambda _: checks.follows_the_equations()  # noqa: E731
DROPPED = lambda _: checks.weights_are_dropped_the_same_at_every_step("lstm")  # noqa: E731
PENALTY = lambda _: checks.the_penalty_follows_the_formula()  # noqa: E731


def _noise_in_evaluation(right: Any) -> Any:
    return lambda self, states: states * functional.dropout(torch.ones_like(states[:, :1]), self.probability)


def _another_mask_at_every_place(_: Any) -> Any:
    return lambda self, states: functional.dropout(states, self.probability, self.training)


def _one_mask_for_all_rows(_: Any) -> Any:
    return lambda self, states: states * functional.dropout(torch.ones_like(states[:1, :1]), self.probability)


def _reads_the_label(_: Any) -> Any:
    def wrong(self: Any, batch: Any, record: Any = None) -> Output:
        return Output(self.reader(batch.labels).dropped, self.readout)

    return wrong


def _forgets(_: Any) -> Any:
    def wrong(self: Any, state: State, tokens: Any, record: Any = None) -> Any:
        hidden, _ = self.reader.step(tokens, state.carry)
        return self.readout(hidden), state

    return wrong


def _starts_anew(right: Any) -> Any:
    return lambda self, tokens, states=None: right(self, tokens)


def _drops_places(_: Any) -> Any:
    def wrong(self: Any, tokens: Any) -> Any:
        embedded = self.embedding(tokens)
        return embedded * functional.dropout(torch.ones_like(embedded[..., :1]), self.word_dropout, self.training)

    return wrong


def _penalty_of(change: Any) -> Any:
    return lambda right: lambda self, read, batch: right(self, change(read), batch)


class _Silent:
    """Weights are never dropped."""

    dropout = staticmethod(lambda weight, probability, training=True: weight)


def _with_gradient_cut(right: Any) -> Any:
    class Cut:
        dropout = staticmethod(lambda weight, probability, training=True: right.dropout(weight, probability).detach())

    return Cut


BUGS = [
    Bug("the label is read", LanguageModel, "forward", _reads_the_label, EQUATIONS),
    Bug("the same, as a leak", LanguageModel, "forward", _reads_the_label,
        lambda _: model_checks.the_future_does_not_leak(language_model_model)),
    Bug("a step forgets", LanguageModel, "step", _forgets, STEPS),
    Bug("reading starts anew", AwdReader, "forward", _starts_anew, lambda _: checks.reading_goes_on()),
    Bug("noise in evaluation", LockedDropout, "forward", _noise_in_evaluation, EQUATIONS),
    Bug("another mask at every place", LockedDropout, "forward", _another_mask_at_every_place,
        lambda _: checks.locked_noise_is_the_same_at_every_place()),
    Bug("one mask for all rows", LockedDropout, "forward", _one_mask_for_all_rows,
        lambda _: checks.locked_noise_is_the_same_at_every_place()),
    Bug("weights are not dropped", awd_lstm, "functional", lambda _: _Silent, DROPPED),
    Bug("dropped weights do not learn", awd_lstm, "functional", _with_gradient_cut, DROPPED),
    Bug("the weights of the input are dropped", WeightDropped, "forward",
        lambda _: lambda self, inputs, states=None, lengths=None: self.kernel(functional.dropout(inputs)), DROPPED),
    Bug("places are dropped, not words", AwdReader, "_embed", _drops_places,
        lambda _: checks.words_are_dropped_as_a_whole()),
    Bug("the change is taken of the dropped states", LanguageModel, "_penalty",
        _penalty_of(lambda read: read._replace(raw=2 * read.raw)), PENALTY),
    Bug("padding is penalised", language_model, "PAD", lambda _: -1, PENALTY),
    Bug("gates in another order", recurrent, "_EQUATIONS",
        lambda right: right | {"lstm": lambda x, h, past: right["lstm"](x.roll(1, -1), h, past)}, STEPS),
]  # fmt: skip


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.what)
def test_the_check_is_green_without_the_bug_and_red_with_it(bug, monkeypatch):
    green_then_red(bug, monkeypatch)
