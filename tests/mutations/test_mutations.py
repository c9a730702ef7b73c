"""The tests are tested: every bug of the list is planted, and its check must go red."""

import pytest
from bugs import BUGS

from checks.planted import green_then_red


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.what)
def test_the_check_is_green_without_the_bug_and_red_with_it(bug, monkeypatch):
    green_then_red(bug, monkeypatch)
