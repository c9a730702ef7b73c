"""The command `regard`: finds the verb, runs it, and turns errors into one sentence and an exit code.

A verb is a file of this package. To add one, write `cli/<verb>.py` with

    \"\"\"Translate text from standard input or a file.\"\"\"     # first line: its description in `regard --help`

    EXAMPLES = \"\"\"
    regard translate -m runs/small/model < in.en > out.de
    \"\"\"                                                     # `regard <verb> --help` opens with these lines

    def command(model: Annotated[Path, typer.Option("--model", "-m", help="The model folder.")], ...) -> int | None:
        \"\"\"Longer help (optional paragraphs).\"\"\"

and nothing else: no registration. `command` has typer annotations and returns an exit code (None: 0). It imports
torch, and whatever imports torch, inside its body, so that help and mistakes on the command line answer at once.
A file without `command` is no verb (options.py, live.py). Results go to standard output, all else to standard error.
Mistakes of the user are raised as `regard.errors.UserError`. `--debug` is taken out of the arguments here.
"""

import ast
import difflib
import importlib
import inspect
import os
import re
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Any, get_args

from regard.errors import UsageError, UserError
from regard.versions import version_of

USAGE = """\
Usage: regard VERB [ARGUMENTS]

Train, run and see attention models.

Example:
  regard train recipes/multi30k-ende-small.yaml data.root=data/multi30k -o runs/small
  regard translate -m runs/small/model < input.en > output.de

Without a model of your own, with those that come with it (`regard models --shipped`):
  regard explore en-de          a translation, and what the model looked at
  regard explore pronounce      English words and their sounds
  regard explore scenes         pictures and their captions

Verbs:
{verbs}

`regard VERB --help` shows a verb's options, `regard --version` the version.
`--debug` with any verb shows the traceback of an error.

Exit codes: 0 done, 1 failed at work, 2 usage or recipe, 3 bad data, 4 bad or untrusted model,
5 run folder locked, 6 quality gate not met, 130 and 143 interrupted and saved.
"""

INTERRUPTED = 130  # 128 + SIGINT, as shells have it
BROKEN_PIPE = 141  # 128 + SIGPIPE

_MEMORY = re.compile("can't allocate memory|out of memory")  # what torch says, of processors and of GPUs


def main(arguments: Sequence[str] | None = None) -> None:
    """The entry point: run `regard` with `arguments` (those of the process by default) and exit."""
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _terminate)
    sys.exit(run(list(sys.argv[1:] if arguments is None else arguments)))


def _terminate(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)  # as an exception it lets half-written files be removed


def run(arguments: list[str]) -> int:
    """Run `regard` with `arguments`; the exit code."""
    arguments, debug = _without_debug(arguments)
    _speak_utf8()
    _let_idle_threads_sleep()
    try:
        code = _dispatch(arguments)
        sys.stdout.flush()  # here, where a closed pipe can still be told
        return code
    except KeyboardInterrupt:
        _complain("interrupted")
        return INTERRUPTED
    except Exception as error:
        return _explain(error, debug)


def _explain(error: Exception, debug: bool) -> int:
    """One sentence for the user; the exit code."""
    if isinstance(error, BrokenPipeError):
        forget_output()  # nobody reads on (`| head`)
        return BROKEN_PIPE
    if debug:
        traceback.print_exc()
    if isinstance(error, UserError):
        _complain(f"error: {error}")
        return error.exit_code
    if isinstance(error, OSError):  # the machine's trouble, not a bug: a full disk, a file that may not be read
        if error.filename is None:
            forget_output()
        _complain(f"error: {error.filename or 'standard input or output'}: {error.strerror or error}")
    elif isinstance(error, MemoryError) or _MEMORY.search(str(error)):
        _complain("error: out of memory; take a smaller model, training.batch_tokens, --batch-size or --beam-size")
    else:  # the last resort: one line for the user, the rest for the bug report
        _report_bug(error)
    return UserError.exit_code


def verbs() -> dict[str, str]:
    """Every verb and its description, read from the files without importing them."""
    found = {}
    for path in sorted(Path(__file__).parent.glob("[a-z]*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if any(isinstance(node, ast.FunctionDef) and node.name == "command" for node in tree.body):
            found[path.stem] = (ast.get_docstring(tree) or "").partition("\n")[0]
    return found


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("--help", "-h", "help"):
        width = max(map(len, verbs()), default=0)
        lines = (f"  {verb:<{width}}  {description}" for verb, description in verbs().items())
        sys.stdout.write(USAGE.format(verbs="\n".join(lines)))
        return 0
    if arguments[0] in ("--version", "-V"):
        sys.stdout.write(f"regard {version_of('regard')}\n")
        return 0
    verb, *rest = arguments
    known = verbs()
    if verb not in known:
        near = difflib.get_close_matches(verb, known, n=1)
        advice = f"did you mean `{near[0]}`?" if near else f"there are {', '.join(known)}"
        raise UsageError(f"no verb `{verb}`; {advice}")
    return _run_verb(verb, rest)


def _run_verb(verb: str, arguments: list[str]) -> int:
    import typer

    module = importlib.import_module(f"regard.cli.{verb}")
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command(name=verb, help=_help(module), context_settings={"help_option_names": ["--help", "-h"]})(module.command)
    click_command = typer.main.get_command(app)
    _refuse_empty_paths(module.command, arguments)
    try:
        # Not `main()`, which turns interrupts and closed pipes into exit codes of its own.
        with click_command.make_context(f"regard {verb}", arguments) as context:
            code = click_command.invoke(context)
    except typer.Abort:
        raise KeyboardInterrupt from None
    except typer.Exit as leave:
        return leave.exit_code
    except Exception as error:
        # Typer's own usage errors: which class depends on its version, what they offer does not.
        if hasattr(error, "format_message"):
            raise UsageError(f"{error.format_message().rstrip('.')} (see `regard {verb} --help`)") from error
        raise
    return code if isinstance(code, int) else 0


def _refuse_empty_paths(command: Callable[..., Any], arguments: list[str]) -> None:
    """A path with nothing in it, which would mean the working directory, is the work of an unset shell variable."""
    of_paths = set[str]()
    for parameter in inspect.signature(command).parameters.values():
        kind, info = get_args(parameter.annotation)
        if "Path" in str(kind):  # of `Option("--output", "-o")` the first name is where a default could be
            of_paths.update(name for name in (info.default, *(info.param_decls or ())) if isinstance(name, str))
    joined = (argument.partition("=")[::2] for argument in arguments if "=" in argument)  # `--output=`
    for option, value in (*pairwise(arguments), *joined):
        if option in of_paths and not value.strip():
            raise UsageError(f"{option} is empty; name a file or folder")


def _help(module: Any) -> str:
    examples = "\n".join(f"  {line.strip()}" for line in module.EXAMPLES.strip().splitlines())
    # \b keeps the lines of a paragraph as they are.
    return "\n\n".join(["Example:", f"\b\n{examples}", inspect.cleandoc(module.command.__doc__ or module.__doc__)])


def _without_debug(arguments: list[str]) -> tuple[list[str], bool]:
    end = arguments.index("--") if "--" in arguments else len(arguments)
    options = [argument for argument in arguments[:end] if argument != "--debug"]
    return options + arguments[end:], len(options) < end


def _speak_utf8() -> None:
    """Text is UTF-8 whatever the locale says; a terminal that cannot show a character shows its code.

    A stream that was closed before the start is there again: nothing to be read, nowhere to write results to.
    """
    for name, flags in (("stdin", os.O_RDONLY), ("stdout", os.O_RDONLY), ("stderr", os.O_WRONLY)):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, flags), "r" if name == "stdin" else "w"))
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace" if stream is sys.stderr else None)


def forget_output() -> None:
    """Send what is left in the buffer nowhere, or Python would complain once more when it flushes at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _let_idle_threads_sleep() -> None:
    """OpenMP reads this when torch is loaded. By default its threads spin while they wait for each other.

    On a machine that does anything else besides, a spinning thread keeps its sibling from the processor: training
    on two threads beside one busy process made 1,700 tokens a second, and 3,250 with threads that sleep. Whoever
    has the machine to himself sets the variable to `active`: 5,400 instead of 3,400 (docs/results.md).
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def _complain(message: str) -> None:
    try:
        sys.stderr.write(f"regard: {message}\n")
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def _report_bug(error: Exception) -> None:
    first = str(error).strip().partition("\n")[0]
    message = f"error: {type(error).__name__}: {first}"
    try:
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", prefix="regard-error-", suffix=".txt", delete=False
        ) as file:
            traceback.print_exception(error, file=file)
        message += f" (a bug or a full machine; the traceback is in {file.name}, `--debug` shows it here)"
    except OSError:
        message += " (`--debug` shows the traceback)"
    _complain(message)
