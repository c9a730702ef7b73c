import json

import pytest

from regard.cli.main import run
from regard.evaluation.published import TABLE_2, Training

CELLS = [
    pytest.param(cell, id=f"{row.system} {direction}")
    for row in TABLE_2
    for direction, cell in (("EN-DE", row.en_de), ("EN-FR", row.en_fr))
    if cell is not None and cell.training is not None
]


@pytest.mark.parametrize("cell", CELLS)
def test_the_formula_gives_every_printed_cost(cell):
    """Two digits are printed, and some of them were cut instead of rounded."""
    assert cell.training.capacity == pytest.approx(cell.printed_cost, rel=0.035)


def test_the_cost_of_the_base_model_by_hand():
    assert Training(8, "P100", 0.5).capacity == 8 * 43_200 * 9.5e12


def test_what_the_transformers_computed_is_well_below_what_the_hardware_could():
    """9.5e17 and 9.7e18 counted operations: 29 % and 42 % of the printed costs."""
    base, big = (row for row in TABLE_2 if row.kind == "transformer")
    assert base.flops(base.en_de) == pytest.approx(9.52e17, rel=1e-3)
    assert big.flops(big.en_de) == pytest.approx(9.68e18, rel=1e-3)
    assert base.flops(base.en_fr) is None
    assert base.flops_per_token(base.en_fr) == base.flops_per_token(base.en_de)


def test_an_ensemble_of_eight_costs_eight_times_as_much():
    single, eight = (row for row in TABLE_2 if row.kind == "gnmt")
    assert eight.flops_per_token(eight.en_de) == 8 * single.flops_per_token(single.en_de)


def test_the_table_is_that_of_the_slide(capsys):
    assert run(["compare", "--published", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    values = [row["bleu"] for row in rows if row["pair"] == "EN-DE"]
    assert values == [23.75, 24.6, 25.16, 26.03, 26.30, 26.36, 27.3, 28.4]
    assert [row["bleu"] for row in rows if row["pair"] == "EN-FR"] == [
        39.2, 39.92, 40.46, 40.56, 40.4, 41.16, 41.29, 38.1, 41.8
    ]  # fmt: skip


def test_nothing_named_is_a_mistake(capsys):
    assert run(["compare"]) == 2
    assert "--published" in capsys.readouterr().err
