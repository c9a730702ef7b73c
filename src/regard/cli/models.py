"""List the systems there are, with their presets and papers, and the models that come with regard."""

import json
import sys
import textwrap
from collections.abc import Iterator
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer
from rich.console import Console

if TYPE_CHECKING:
    from regard.protocol import Dimensions, Model

EXAMPLES = """
regard models
regard models --shipped
regard models --vocabulary 37000 --json
"""

PICTURE_SIDE = 224

_NO_PRESET = "(no preset)"


class Row(NamedTuple):
    """One way to write `model:` in a recipe."""

    kind: str
    preset: str | None
    parameters: int
    flops_per_token: float | None
    description: str


def command(
    vocabulary: Annotated[
        int, typer.Option("--vocabulary", min=5, help="Tokens of the vocabulary that both sides share.")
    ] = 8000,
    shipped: Annotated[bool, typer.Option("--shipped", help="Only the models that come with regard.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line on standard output.")] = False,
) -> None:
    """List every kind of model with its presets, its parameters, what a token costs, and where it comes from.

    FLOPs are the counted floating-point operations of the forward pass a target token, in a pair of 25 tokens on
    either side, of 25 tokens on a picture of 224 x 224 pixels, or of the picture's one label; training takes three
    times as many.

    A recipe names one as `model: {kind: KIND, preset: PRESET}`; every other setting can be given beside it, and
    `regard train RECIPE --print-config` shows all of them.

    With --shipped: the trained models that come with the package, whose names can be given wherever a model folder is
    asked for (a folder of that name in the working folder wins), with their size, their quality and their licence.
    """
    if shipped:
        from regard.cli.shipped_models import print_shipped

        print_shipped(as_json=as_json)
        return
    rows = list(_rows(vocabulary))
    if as_json:
        sys.stdout.writelines(json.dumps(row._asdict(), ensure_ascii=False) + "\n" for row in rows)
        return
    _print(rows)


def _print(rows: list[Row]) -> None:
    console, width = Console(highlight=False, markup=False), max(len(row.preset or _NO_PRESET) for row in rows)
    console.print(f"{'':<{width + 2}}  parameters  FLOPs a token", style="dim")
    for kind, group in groupby(rows, key=attrgetter("kind")):
        presets = list(group)
        console.print(kind, style="bold")
        console.print(textwrap.indent(textwrap.fill(presets[0].description, console.width - 2), "  "))
        for row in presets:
            size = f"{row.parameters / 1e6:,.1f} M"
            cost = "" if row.flops_per_token is None else f"{row.flops_per_token / 1e6:,.1f} M"
            console.print(f"  {row.preset or _NO_PRESET:<{width}}  {size:>10}  {cost:>13}".rstrip())


def _rows(vocabulary: int) -> Iterator[Row]:
    import torch

    from regard.evaluation.flops import flops_per_token
    from regard.models import describe, kinds, presets, reads_pictures
    from regard.protocol import Dimensions

    for kind in kinds():
        dimensions = Dimensions(vocabulary, vocabulary, shared=True)
        if reads_pictures(kind):
            dimensions = Dimensions(3, vocabulary, height=PICTURE_SIDE, width=PICTURE_SIDE)
        for preset in presets(kind):
            # Shapes without memory: the biggest presets would fill many gigabytes.
            with torch.device("meta"):
                model = _build(kind, preset, dimensions)
            cost = flops_per_token(model.eval(), dimensions)
            yield Row(kind, preset, sum(parameter.numel() for parameter in model.parameters()), cost, describe(kind))


def _build(kind: str, preset: str | None, dimensions: "Dimensions") -> "Model":
    from regard.models import family

    module = family(kind)
    config = module.Config.model_validate({} if preset is None else {"preset": preset})
    model: Model = module.build(config, dimensions)
    return model
