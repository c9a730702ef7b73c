"""The command: verbs are found without being imported, and every error is one sentence with its exit code."""

import json
import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from regard.cli import main
from regard.errors import DataError

VERBS = main.verbs()


def run_regard(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "regard", *arguments], capture_output=True, text=True, check=False, **options
    )


@pytest.fixture
def verb(monkeypatch):
    """`train` with another body."""

    def give_body(body):
        from regard.cli import train

        def command() -> int:
            """Do something."""
            return body()

        monkeypatch.setattr(train, "command", command)

    return give_body


def test_help_lists_every_verb_with_its_description(capsys):
    assert main.run(["--help"]) == 0
    text = capsys.readouterr().out
    assert text.index("Example:") < text.index("Verbs:")
    assert "train" in VERBS
    for name, description in VERBS.items():
        assert description.endswith((".", ":")), name
        assert f"  {name} " in text
        assert description in text


def test_no_argument_shows_the_help(capsys):
    assert main.run([]) == 0
    assert "Usage: regard VERB" in capsys.readouterr().out


def test_files_without_a_command_are_no_verbs():
    assert not {"main", "options", "live", "interrupt"} & set(VERBS)


def test_an_unknown_verb_is_answered_with_the_nearest(capsys):
    assert main.run(["trian"]) == 2
    assert capsys.readouterr().err == "regard: error: no verb `trian`; did you mean `train`?\n"


def test_a_verb_that_is_a_path_is_never_imported(capsys):
    assert main.run(["../evil"]) == 2
    assert capsys.readouterr().err.startswith("regard: error: no verb `../evil`; ")


def test_an_unknown_option_is_answered_with_the_nearest(capsys):
    assert main.run(["train", "r.yaml", "--ouput", "x"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("regard: error: No such option: --ouput")
    assert "--output" in error
    assert error.endswith("(see `regard train --help`)\n")


def test_a_users_error_is_one_line_with_its_exit_code(verb, capsys):
    def body():
        raise DataError("x.en has 3 lines but x.de has 4")

    verb(body)
    assert main.run(["train"]) == 3
    assert capsys.readouterr().err == "regard: error: x.en has 3 lines but x.de has 4\n"


def test_debug_shows_the_traceback_and_is_no_option_of_the_verb(verb, capsys):
    def body():
        raise DataError("broken")

    verb(body)
    assert main.run(["train", "--debug"]) == 3
    error = capsys.readouterr().err
    assert error.startswith("Traceback")
    assert error.endswith("regard: error: broken\n")


def test_a_bug_is_one_line_that_says_where_the_traceback_is(verb, capsys, monkeypatch, tmp_path):
    def body():
        raise ZeroDivisionError("division by zero\nmore")

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    verb(body)
    assert main.run(["train"]) == 1
    error = capsys.readouterr().err
    (report,) = tmp_path.iterdir()
    assert error.startswith("regard: error: ZeroDivisionError: division by zero (")
    assert str(report) in error
    assert error.count("\n") == 1
    assert "ZeroDivisionError" in report.read_text()


def test_an_interrupt_is_130_without_traceback(verb, capsys):
    def body():
        raise KeyboardInterrupt

    verb(body)
    assert main.run(["train"]) == 130
    assert capsys.readouterr().err == "regard: interrupted\n"


def test_what_a_verb_returns_is_the_exit_code(verb):
    verb(lambda: 6)
    assert main.run(["train"]) == 6
    verb(lambda: None)
    assert main.run(["train"]) == 0


@pytest.mark.parametrize("name", VERBS)
def test_help_of_every_verb_opens_with_an_example(name, capsys):
    assert main.run([name, "--help"]) == 0
    lines = [line.strip() for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert lines[0].startswith(f"Usage: regard {name}")
    assert lines[1] == "Example:"
    assert f"regard {name}" in lines[2]


def test_help_and_mistakes_are_answered_without_torch():
    code = (
        "import sys; from regard.cli.main import run, verbs\n"
        "for arguments in ([], ['--version'], ['nonsense'], *([verb, '--help'] for verb in verbs()),\n"
        "                  ['train', '--x']):\n"
        "    run(arguments)\n"
        "    assert 'torch' not in sys.modules, arguments\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_help_takes_less_than_half_a_second_of_cpu():
    code = (
        "import os, sys; from regard.cli.main import run\n"
        "run(['train', '--help'])\n"
        "sys.stderr.write(str(os.times().user + os.times().system))"
    )
    seconds = [
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stderr)
        for _ in range(3)
    ]
    assert min(seconds) < 0.5


def test_version_is_that_of_the_package(capsys):
    from importlib.metadata import version

    assert main.run(["--version"]) == 0
    assert capsys.readouterr().out == f"regard {version('regard')}\n"


def test_a_source_tree_that_was_never_installed_has_no_version_and_trains(toy_recipe, tmp_path, monkeypatch, capfd):
    def missing(package):
        raise PackageNotFoundError(package)

    monkeypatch.setattr("regard.versions.version", missing)
    assert main.run(["train", str(toy_recipe), "-o", str(tmp_path / "run")]) == 0, capfd.readouterr().err
    config = json.loads((tmp_path / "run" / "model" / "config.json").read_text())
    assert config["versions"]["regard"] == "unknown"


def test_a_closed_pipe_is_no_error():
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "regard", "--help"], stdout=writer, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writer)
    assert done.returncode == main.BROKEN_PIPE
    assert done.stderr == ""


def test_a_recipe_error_reaches_the_user_as_text(toy_recipe):
    toy_recipe.write_text(toy_recipe.read_text().replace("steps: 12", "stpes: 12"))
    done = run_regard("train", toy_recipe.name, cwd=toy_recipe.parent)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == "regard: error: toy.yaml:9: unknown key `training.stpes`; did you mean `steps`?\n"


@pytest.mark.parametrize(
    "environment", [{"LC_ALL": "C"}, {"PYTHONIOENCODING": "ascii"}, {"NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "20"}]
)
def test_it_speaks_utf8_whatever_the_locale(environment):
    kept = {key: value for key, value in os.environ.items() if key != "HOME"}
    done = subprocess.run(
        [sys.executable, "-m", "regard", "trän"], capture_output=True, check=False, env={**kept, **environment}
    )
    assert done.returncode == 2
    assert "no verb `trän`" in done.stderr.decode("utf-8")


def test_every_verb_file_has_examples_and_a_description():
    for name in VERBS:
        text = (Path(main.__file__).parent / f"{name}.py").read_text(encoding="utf-8")
        assert "\nEXAMPLES = " in text, name
