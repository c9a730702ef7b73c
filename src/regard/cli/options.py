"""Options that several verbs share, with the names and help texts that users know."""

import re
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from regard.errors import UsageError

MOST_THREADS = 1024  # far more of them end the process: the system gives no more stacks

FORMATS_HELP = (
    "auto, moses, tsv, jsonl, cmudict, conversation, text, labelled (LABEL sentence) or conll; "
    "of pictures captions, coco, karpathy, folders or idx."
)

Settings = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="Settings in place of the recipe's, such as model.size=256."),
]
RecipeFile = Annotated[Path, typer.Argument(metavar="RECIPE", help="The recipe, a YAML file.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, or cuda:N.")]
Threads = Annotated[
    int | None, typer.Option("--threads", min=1, max=MOST_THREADS, help="CPU threads; all cores if not given.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Warnings and errors only.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object a line on standard output.")]

_SETTING = re.compile(r"`(\w+)(?:: true)?`")


def keep_inputs(inputs: Iterable[Path | None], output: Path | None) -> None:
    """Refuse an output that would take the place of an input.

    Raises:
        UsageError: it is one of them.
    """
    if output is None or not output.exists() or output.is_char_device() or output.is_fifo():
        return
    if any(path is not None and path.exists() and output.samefile(path) for path in inputs):
        raise UsageError(f"--output {output} is the input itself, which would be lost; name another file or folder")


def option(setting: str) -> str:
    """A setting's name as it is typed: `--beam-size`."""
    return f"--{setting.replace('_', '-')}"


@contextmanager
def named_as_typed(settings: Collection[str]) -> Iterator[None]:
    """What is wrong with one of these search settings is told of the option that was typed."""
    try:
        yield
    except UsageError as error:
        message = _SETTING.sub(lambda found: option(found[1]) if found[1] in settings else found[0], str(error))
        message = message.replace("search settings has", "the options have").replace("search settings: ", "")
        raise UsageError(message) from None
