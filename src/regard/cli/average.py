"""Average the weights of several checkpoints into one model."""

from pathlib import Path
from typing import Annotated

import typer

EXAMPLES = """
regard average runs/small -n 5 -o model
regard average runs/small -n 3 --best -o model
regard average model-1 model-2 -o model
"""


def command(
    folders: Annotated[list[Path], typer.Argument(metavar="FOLDER...", help="One run folder, or models to average.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The model folder to write.")],
    number: Annotated[
        int | None, typer.Option("--number", "-n", min=1, help="How many checkpoints of the run.", show_default="5")
    ] = None,
    best: Annotated[bool, typer.Option("--best", help="The best by validation score, not the newest.")] = False,
) -> None:
    """Average the weights of the newest (or best) checkpoints of a run, or of the models named.

    Prints the folders that went into the model, one a line. A run may be in progress meanwhile.
    """
    from regard.checkpoint.average import average_model, choose
    from regard.checkpoint.checkpoints import CHECKPOINTS
    from regard.errors import UsageError

    def notify(message: str) -> None:
        typer.echo(f"regard: {message}", err=True)

    if len(folders) == 1:
        if not (folders[0] / CHECKPOINTS).is_dir():
            raise UsageError(f"{folders[0]}: no run folder; name one, or at least two models")
        folders = choose(folders[0], 5 if number is None else number, best=best, notify=notify)
    elif best or number is not None:
        option = "--best" if best else "-n"
        raise UsageError(f"{option} chooses among the checkpoints of one run; several folders are named")
    average_model(folders, output)
    for folder in folders:
        typer.echo(folder)
