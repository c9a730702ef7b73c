"""Bugs planted in the server and in what carries mark-up; the checks must notice each."""

import pytest

from checks import markup as markup_checks
from checks import serving
from checks.planted import Bug, green_then_red
from regard.pipelines import projection
from regard.serve import guard, interruptible, worker

BUGS = [
    Bug(
        "who leaves goes on being searched",
        interruptible.Interruptible,
        "step",
        lambda step: lambda self, state, tokens, record=None: _without_void(step, self, state, tokens),
        lambda _: serving.check_what_nobody_wants_ends_and_the_others_do_not_notice(),
    ),
    Bug(
        "the best of the batch is told to everybody",
        interruptible.Interruptible,
        "_tell",
        lambda tell: lambda self, best, sentences: tell(self, best[:1].expand_as(best), sentences),
        lambda _: serving.check_everybody_hears_their_own(),
    ),
    Bug(
        "a batch holds sentences of other settings",
        worker.Lane,
        "__eq__",
        lambda _: lambda one, other: one.model == other.model,
        lambda _: serving.check_settings_of_others_change_nothing(),
    ),
    Bug(
        "only declared lengths are bounded",
        guard.Guard,
        "_body",
        lambda _: _whole_body,
        lambda _: serving.check_a_body_is_bounded(),
    ),
    Bug(
        "placeholders are left to the model",
        projection,
        "_with_placeholders",
        lambda _: lambda source, units, origins, stand_ins: list(units),
        lambda _: markup_checks.check_placeholders_survive(),
    ),
    Bug(
        "a stand-in too many is left",
        projection,
        "_without_leftovers",
        lambda _: lambda source, units, stand_ins: list(units),
        lambda _: markup_checks.check_no_stand_in_is_left(),
    ),
    Bug(
        "an element without words is lost",
        projection,
        "_with_mark_up",
        lambda _: lambda source, units, origins, droppable: units,
        lambda _: markup_checks.check_elements_without_words_stay(),
    ),
    Bug(
        "text is not escaped",
        projection,
        "_serialise",
        lambda serialise: lambda source, units, escape: serialise(source, units, str),
        lambda _: markup_checks.check_text_is_no_mark_up(),
    ),
]


def _without_void(step, self, state, tokens):
    self._is_void = [lambda: False for _ in self._is_void]
    return step(self, state, tokens)


async def _whole_body(self, scope, receive):
    body = b""
    while (message := await receive())["more_body"]:
        body += message["body"]
    return body + message["body"]


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.what)
def test_a_planted_bug_is_noticed(bug, monkeypatch):
    green_then_red(bug, monkeypatch)


def test_tags_are_nested():
    markup_checks.check_tags_are_nested()
