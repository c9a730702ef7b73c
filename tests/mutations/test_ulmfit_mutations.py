"""Bugs that ULM-FiT may have, planted one by one: the check of each must go red."""

from typing import Any

import pytest

import regard.training.finetuning as finetuning
import regard.training.optimizer as optimizer
from checks import text_classifier as labeller_checks
from checks import ulmfit as checks
from checks.planted import Bug, green_then_red
from checks.ulmfit import ulmfit_model
from regard.layers.pooling import Read
from regard.models import ulmfit
from regard.models.ulmfit import Normalised

EQUATIONS = lambda _: checks.follows_the_equations()  # noqa: E731
PADDING = lambda _: labeller_checks.padding_changes_nothing(ulmfit_model)  # noqa: E731
THAWING = lambda _: checks.parts_thaw_from_the_top()  # noqa: E731
RATES = lambda _: checks.every_part_learns_slower_than_the_one_above()  # noqa: E731


def _pooled(change: Any) -> Any:
    return lambda right: lambda name, read, mask: right(name, change(read), mask)


BUGS = [
    Bug("the text begins without BOS", ulmfit, "BOS", lambda _: 4, EQUATIONS),
    Bug("the last state is that of the padding", ulmfit, "pool",
        _pooled(lambda read: Read(read.states, read.states[:, -1])), PADDING),
    Bug("only the last state is pooled", ulmfit, "pool",
        _pooled(lambda read: Read(read.states * 0, read.last)), EQUATIONS),
    Bug("padding is pooled", ulmfit, "PAD", lambda _: -1, PADDING),
    Bug("no normalisation", Normalised, "forward", lambda _: lambda self, rows: rows, EQUATIONS),
    Bug("everything learns at once", checks, "freeze", lambda _: lambda model, config, epoch: None, THAWING),
    Bug("parts thaw from the bottom", finetuning, "groups_of", lambda right: lambda model: right(model)[::-1], THAWING),
    Bug("one rate for all", optimizer, "scales", lambda _: lambda config, number: [1.0] * number, RATES),
    Bug("the bottom learns fastest", optimizer, "scales", lambda right: lambda *a: right(*a)[::-1], RATES),
]  # fmt: skip


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.what)
def test_the_check_is_green_without_the_bug_and_red_with_it(bug, monkeypatch):
    green_then_red(bug, monkeypatch)
