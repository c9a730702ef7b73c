"""Options that several verbs share, with the names and help texts that users know."""

import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from regard.errors import UsageError

MOST_THREADS = 1024  # far more of them end the process: the system gives no more stacks

FORMATS_HELP = "auto, moses, tsv, jsonl, cmudict, conversation, text, labelled (LABEL sentence) or conll."

Settings = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="Settings in place of the recipe's, such as model.size=256."),
]
RecipeFile = Annotated[Path, typer.Argument(metavar="RECIPE", help="The recipe, a YAML file.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, or cuda:N.")]
Threads = Annotated[
    int | None, typer.Option("--threads", min=1, max=MOST_THREADS, help="CPU threads; all cores if not given.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Errors only.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object a line on standard output.")]

_SETTING = re.compile(r"`(\w+)(?:: true)?`")


@contextmanager
def named_as_typed(settings: Collection[str]) -> Iterator[None]:
    """What is wrong with one of these search settings is told of the option that was typed: `--beam-size`."""
    try:
        yield
    except UsageError as error:
        message = _SETTING.sub(
            lambda found: f"--{found[1].replace('_', '-')}" if found[1] in settings else found[0], str(error)
        )
        message = message.replace("search settings has", "the options have").replace("search settings: ", "")
        raise UsageError(message) from None
