"""The tests are tested: every bug of the list is planted, and its check must go red."""

from inspect import getattr_static

import pytest
from bugs import BUGS


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.what)
def test_the_check_is_green_without_the_bug_and_red_with_it(bug, monkeypatch):
    with monkeypatch.context() as patch:
        bug.check(patch)
    with monkeypatch.context() as patch:
        patch.setattr(bug.place, bug.name, bug.change(getattr_static(bug.place, bug.name)))
        with pytest.raises(AssertionError):
            bug.check(patch)
