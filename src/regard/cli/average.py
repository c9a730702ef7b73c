"""Average the weights of several checkpoints into one model, or write one model smaller, with a card of your own."""

from pathlib import Path
from typing import Annotated

import typer

from regard.cli.options import keep_inputs
from regard.errors import UsageError

EXAMPLES = """
regard average runs/small -n 5 -o model
regard average runs/small -n 3 --best -o model
regard average model-1 model-2 -o model
regard average runs/small/model --precision bf16 --card card.yaml -o small-model
"""


def command(
    folders: Annotated[list[Path], typer.Argument(metavar="FOLDER...", help="One run folder, or models to average.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The model folder to write.")],
    number: Annotated[
        int | None, typer.Option("--number", "-n", min=1, help="How many checkpoints of the run. [default: 5, or all]")
    ] = None,
    best: Annotated[bool, typer.Option("--best", help="The best by validation score, not the newest.")] = False,
    precision: Annotated[
        str, typer.Option("--precision", help="fp32, or bf16: files of half the size, widened when they are opened.")
    ] = "fp32",
    card: Annotated[
        Path | None, typer.Option("--card", help="YAML with what the model card shall say: title, licence, ...")
    ] = None,
) -> None:
    """Average the weights of the newest (or best) checkpoints of a run, or of the models named.

    Prints the folders that went into the model, one a line. A run may be in progress meanwhile. One model alone is
    written again, with other --precision or --card: title, description, data, metrics, command, licence, notes.
    """
    import torch

    from regard.checkpoint.average import average_model
    from regard.checkpoint.card import Card
    from regard.config.load import load_yaml, parse

    if precision not in ("fp32", "bf16"):
        raise UsageError(f"--precision {precision}: it is fp32 or bf16")
    facts = None if card is None else parse(Card, load_yaml(card))
    changes = facts is not None or precision == "bf16"
    chosen = _chosen(folders, number, best=best, changes=changes)
    keep_inputs(chosen, output)
    average_model(chosen, output, dtype=torch.bfloat16 if precision == "bf16" else None, facts=facts)
    for folder in chosen:
        typer.echo(folder)


def _chosen(folders: list[Path], number: int | None, *, best: bool, changes: bool) -> list[Path]:
    from regard.checkpoint.average import choose
    from regard.checkpoint.checkpoints import CHECKPOINTS
    from regard.checkpoint.model_folder import find_model

    def notify(message: str) -> None:
        typer.echo(f"regard: {message}", err=True)

    if len(folders) == 1 and (folders[0] / CHECKPOINTS).is_dir():
        return choose(folders[0], number, best=best, notify=notify)
    if best or number is not None:
        option = "--best" if best else "-n"
        raise UsageError(f"{option} chooses among the checkpoints of one run; name a run folder alone")
    found = [find_model(folder) for folder in folders]
    if len(found) == 1 and not changes:
        raise UsageError(
            f"{folders[0]}: the mean of one model is that model; name a run folder, more models, --precision or --card"
        )
    return found
