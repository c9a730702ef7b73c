"""Talk with a model in the terminal."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from regard.cli.options import Device, Threads
from regard.errors import DataError, UsageError

if TYPE_CHECKING:
    from regard.pipelines.chat import Chat

EXAMPLES = """
regard chat -m runs/chat/model
regard chat -m runs/chat/model --history 3 --temperature 0.5
echo "Have you seen a good film lately?" | regard chat -m runs/chat/model --temperature 0
"""

_COMMANDS = "/reset forgets what was said, /history shows what is remembered, /quit ends (so does Ctrl-D)"


def command(
    model: Annotated[list[Path], typer.Option("--model", "-m", help="A model folder; several: an ensemble.")],
    history: Annotated[
        int | None, typer.Option("--history", min=1, help="Turns the model reads. [default: as in its training]")
    ] = None,
    temperature: Annotated[
        float, typer.Option("--temperature", min=0, help="Of the draws; 0: always the most probable word.")
    ] = 0.7,
    top_k: Annotated[
        int | None, typer.Option("--top-k", min=0, help="Draw among the k best; 0: all. [default: 0]")
    ] = None,
    top_p: Annotated[
        float | None, typer.Option("--top-p", min=0.01, max=1, help="Draw among the best of mass p. [default: 0.95]")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Of the draws. [default: 1]")] = None,
    max_length: Annotated[int, typer.Option("--max-length", min=1, help="Most pieces of a reply.")] = 60,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a reply.")] = False,
    device: Device = "auto",
    threads: Threads = None,
) -> None:
    """Answer each line of standard input; at a terminal it prompts, and words appear as they are found.

    Lines that begin with a slash are commands: /reset forgets what was said, /history shows what is remembered,
    /quit ends. Replies are drawn from the model's probabilities; with --temperature 0 they are the most probable words.
    """
    from regard.cli.translate import open_models
    from regard.pipelines.chat import Chat, chat_search

    draws: dict[str, Any] = {"top_k": top_k, "top_p": top_p, "seed": seed}
    given = {name: value for name, value in draws.items() if value is not None}
    if given and not temperature:
        raise UsageError("--top-k, --top-p and --seed are for draws, and with --temperature 0 nothing is drawn")
    translator = open_models(model, device=device, threads=threads, precision="fp32")
    search = chat_search(temperature, most=max_length, **given)
    chat = Chat(translator, history=history or translator.loaded[0].card.history, **search)
    is_terminal = sys.stdin.isatty()
    if is_terminal:
        sys.stderr.write(f"{_COMMANDS}\n")
    for line in _lines(is_terminal):
        if line.startswith("/"):
            if _obey(chat, line):
                return
        elif line:
            try:
                _answer(chat, line, as_json=as_json)
            except UsageError as error:  # too long a line
                if not is_terminal:
                    raise
                sys.stderr.write(f"regard: {error}\n")


def _lines(is_terminal: bool) -> Iterator[str]:
    if not is_terminal:
        try:
            for line in sys.stdin:
                yield line.strip()
        except UnicodeDecodeError:
            raise DataError("standard input is not UTF-8; convert it, with `iconv -f LATIN1 -t UTF-8` say") from None
        return
    import readline  # noqa: F401  arrows and history, by being imported

    while True:
        try:
            yield input("> ").strip()
        except EOFError:
            sys.stderr.write("\n")
            return


def _obey(chat: "Chat", line: str) -> bool:
    """Do what a command says; whether it ends the conversation."""
    if line in ("/quit", "/exit"):
        return True
    if line == "/reset":
        chat.reset()
    elif line == "/history":
        sys.stderr.writelines(f"  {turn}\n" for turn in chat.turns)
    else:
        sys.stderr.write(f"{line.split()[0]} is no command: {_COMMANDS}\n")
    return False


def _answer(chat: "Chat", line: str, *, as_json: bool) -> None:
    if as_json:
        reply = "".join(chat.reply(line))
        sys.stdout.write(json.dumps({"text": line, "reply": reply}, ensure_ascii=False) + "\n")
    else:
        for piece in chat.reply(line):
            sys.stdout.write(piece)
            sys.stdout.flush()
        sys.stdout.write("\n")
    sys.stdout.flush()
