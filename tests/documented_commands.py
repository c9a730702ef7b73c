"""Reading commands out of documents, and asking the command line whether it would take them."""

import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import typer

from regard.cli.main import verbs
from regard.recipe import Recipe

ROOT = Path(__file__).parents[1]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")


def blocks(text: str, *languages: str) -> list[str]:
    """The fenced blocks in one of `languages` ("": none is named)."""
    return [body for language, body in FENCE.findall(text) if language in languages]


def spans(text: str) -> list[str]:
    """What stands between single backticks; a table's `\\|` is a bar."""
    return [span.replace("\\|", "|") for span in SPAN.findall(FENCE.sub("", text))]


def commands(text: str) -> list[str]:
    """Every command that begins with `regard` or has it behind a pipe: lines of shell blocks, and spans of the text."""
    lines = [line for block in blocks(text, "", "sh", "shell", "bash") for line in block.splitlines()]
    found = [line.strip() for line in [*lines, *spans(text)]]
    return [line for line in found if re.match(r"(?:.*\| )?regard [a-z]", line)]


def check(command: str) -> None:
    """Raises an error that says what the command line would not take: verb, option, value, setting."""
    for words in _calls(command):
        verb, *arguments = words
        assert verb in verbs(), f"{command}: there is no verb {verb}"
        module = importlib.import_module(f"regard.cli.{verb}")
        app = typer.Typer(add_completion=False)
        app.command(name=verb)(module.command)
        if arguments and arguments != ["--help"]:
            typer.main.get_command(app).make_context(verb, list(arguments))
        _check_settings(arguments)


def _calls(command: str) -> Iterator[list[str]]:
    """The words behind each `regard` in a line of shell, without comments and redirections."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars="|<>;&")
    lexer.whitespace_split = True
    words: list[str] = []
    for word in [*lexer, ";"]:
        if set(word) <= set("|<>;&"):
            if words[:1] == ["regard"] and len(words) > 1:
                yield words[1:]
            words = []
        else:
            words.append(word)


def _check_settings(arguments: list[str]) -> None:
    recipes = [word for word in arguments if Path(word).parent == Path("recipes")]
    for recipe in recipes:
        Recipe.read(ROOT / recipe, [word for word in arguments if re.match(r"[a-z_.]+=", word)])
