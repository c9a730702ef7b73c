import json
import re

import pytest

from regard.cli.main import run
from regard.models import describe, kinds, presets


@pytest.mark.parametrize("kind", kinds())
def test_every_chapter_opens_with_what_it_is_and_its_paper(kind):
    assert re.search(r"\([^()]*\b\d{4}\)", describe(kind))


def test_the_table_names_every_kind_and_preset(capsys):
    assert run(["models"]) == 0
    table = capsys.readouterr().out
    for kind in kinds():
        assert kind in table
        assert all(preset is None or preset in table for preset in presets(kind))


def test_the_counts_are_those_of_the_paper_within_its_own_doubt(capsys):
    """37,000 tied tokens: 63.1 M and 214.2 M; the paper rounds up to 65 and 213 (Vaswani et al. 2017, Table 3)."""
    assert run(["models", "--vocabulary", "37000", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    counts = {(row["kind"], row["preset"]): row["parameters"] / 1e6 for row in rows}
    assert counts["transformer", "base"] == pytest.approx(63.1, abs=0.1)
    assert counts["transformer", "big"] == pytest.approx(214.2, abs=0.1)
