"""A bug that is planted in the code, and the check that has to see it."""

from collections.abc import Callable
from inspect import getattr_static
from typing import Any, NamedTuple

import pytest

Change = Callable[[Any], Any]  # the right thing to the wrong thing


class Bug(NamedTuple):
    """In `place`, `name` is replaced by `change` of it; `check` must fail then."""

    what: str
    place: Any
    name: str
    change: Change
    check: Callable[[Any], None]  # is given pytest's monkeypatch


def green_then_red(bug: Bug, monkeypatch: Any) -> None:
    """The check passes on the right code and fails by an assertion on the wrong one."""
    with monkeypatch.context() as patch:
        bug.check(patch)
    with monkeypatch.context() as patch:
        patch.setattr(bug.place, bug.name, bug.change(getattr_static(bug.place, bug.name)))
        with pytest.raises(AssertionError):
            bug.check(patch)
