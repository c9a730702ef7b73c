"""The lecture's table of results, its training costs computed again."""

import csv
import json
import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from regard.errors import UsageError

EXAMPLES = """
regard compare --published
regard compare --published --csv > table2.csv
"""

_COLUMNS = ("system", "pair", "bleu", "printed", "computed", "hardware")


def command(
    published: Annotated[bool, typer.Option("--published", help="The table of Vaswani et al. (2017).")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Comma-separated values.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Print the published table: BLEU on newstest2014, and what training cost in floating-point operations.

    The computed cost is days x devices x sustained operations a second, from the times that the papers report; it
    is what the hardware could have done, not what the model needed.
    """
    if not published:
        raise UsageError("name what to compare: --published is the table of Vaswani et al. (2017)")
    if as_csv and as_json:
        raise UsageError("--csv and --json are two forms of the same table; take one")
    rows = _published()
    if as_json:
        sys.stdout.writelines(json.dumps(dict(zip(_COLUMNS, row, strict=True))) + "\n" for row in rows)
    elif as_csv:
        csv.writer(sys.stdout, lineterminator="\n").writerows([_COLUMNS, *rows])
    else:
        _print(rows)


def _published() -> list[tuple[str, str, float, float | None, float | None, str]]:
    from regard.evaluation.published import TABLE_2

    return [
        (
            row.system,
            direction,
            cell.bleu,
            cell.printed_cost,
            None if cell.training is None else float(f"{cell.training.capacity:.3g}"),
            "" if cell.training is None else str(cell.training),
        )
        for row in TABLE_2
        for direction, cell in (("EN-DE", row.en_de), ("EN-FR", row.en_fr))
        if cell is not None
    ]


def _print(rows: list[tuple[str, str, float, float | None, float | None, str]]) -> None:
    table = Table(box=None, pad_edge=False)
    for column in _COLUMNS:
        table.add_column(column, justify="right" if column in _COLUMNS[2:5] else "left", no_wrap=True)
    last = ""
    for system, direction, bleu, printed, computed, hardware in rows:
        costs = ("" if printed is None else f"{printed:.1e}", "" if computed is None else f"{computed:.2e}")
        table.add_row("" if system == last else system, direction, f"{bleu:.2f}", *costs, hardware)
        last = system
    Console().print(table)
