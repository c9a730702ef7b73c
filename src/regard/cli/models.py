"""List the systems there are: presets, parameters, papers."""

import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from regard.protocol import Dimensions, Model

EXAMPLES = """
regard models
regard models --vocabulary 37000 --json
"""


class Row(NamedTuple):
    """One way to write `model:` in a recipe."""

    kind: str
    preset: str | None
    parameters: int
    description: str


def command(
    vocabulary: Annotated[
        int, typer.Option("--vocabulary", min=5, help="Tokens of the vocabulary that both sides share.")
    ] = 8000,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line on standard output.")] = False,
) -> None:
    """List every kind of model with its presets, its parameters and where it comes from.

    A recipe names one as `model: {kind: KIND, preset: PRESET}`; every other setting can be given beside it, and
    `regard train RECIPE --print-config` shows all of them.
    """
    rows = list(_rows(vocabulary))
    if as_json:
        sys.stdout.writelines(json.dumps(row._asdict(), ensure_ascii=False) + "\n" for row in rows)
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("kind", no_wrap=True)
    table.add_column("preset", no_wrap=True)
    table.add_column("parameters", justify="right", no_wrap=True)
    table.add_column("what it is")
    named: set[str] = set()
    for row in rows:
        description = "" if row.kind in named else row.description
        table.add_row(row.kind, row.preset or "", f"{row.parameters / 1e6:,.1f} M", description)
        named.add(row.kind)
    Console().print(table)


def _rows(vocabulary: int) -> Iterator[Row]:
    import torch

    from regard.models import describe, kinds, presets
    from regard.protocol import Dimensions

    dimensions = Dimensions(vocabulary, vocabulary, shared=True)
    for kind in kinds():
        for preset in presets(kind):
            # Shapes without memory: the biggest presets would fill many gigabytes.
            with torch.device("meta"):
                model = _build(kind, preset, dimensions)
            yield Row(kind, preset, sum(parameter.numel() for parameter in model.parameters()), describe(kind))


def _build(kind: str, preset: str | None, dimensions: "Dimensions") -> "Model":
    from regard.models import family

    module = family(kind)
    config = module.Config.model_validate({} if preset is None else {"preset": preset})
    model: Model = module.build(config, dimensions)
    return model
