"""`regard train` as a user runs it: signals, resuming, what is printed where."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from checks.runs import logged
from regard.cli import main
from regard.recipe import Recipe

COMMAND = [sys.executable, "-m", "regard", "train"]


def start(toy_recipe, *options, **streams):
    return subprocess.Popen(
        [*COMMAND, toy_recipe.name, *options],
        cwd=toy_recipe.parent,
        text=True,
        preexec_fn=hear_interrupts if sys.platform != "win32" else None,
        **{"stdout": subprocess.PIPE, **streams},
    )


def hear_interrupts():
    """A shell's job in the background ignores Ctrl-C, and would hand that down; regard respects it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def until_step(process, number):
    """Read events until step `number` is done."""
    for line in process.stdout:
        event = json.loads(line)
        if event["event"] == "step" and event["step"] == number:
            return
    raise AssertionError(f"ended before step {number}")


def published_weights(folder: Path) -> str:
    """The hash of the model's weights."""
    manifest = json.loads((folder / "model" / "manifest.json").read_text())
    return manifest["files"]["model.safetensors"]["sha256"]


@pytest.mark.skipif(sys.platform == "win32", reason="signals are those of POSIX")
def test_a_run_ended_by_signals_is_the_uninterrupted_run(toy_recipe):
    folder = toy_recipe.parent
    # Long enough that no signal comes after the end, however slowly this process is woken.
    longer = ("training.steps=300", "training.evaluate_every={steps: 50}")
    with start(toy_recipe, "-o", "whole", "--quiet", *longer) as whole:
        assert whole.wait() == 0
    for number, step, code in ((signal.SIGTERM, 2, 143), (signal.SIGKILL, 60, -9), (signal.SIGINT, 90, 130)):
        with start(toy_recipe, "-o", "parts", "--json", *longer) as process:
            until_step(process, step)
            process.send_signal(number)
            rest = [json.loads(line)["event"] for line in process.stdout]
            assert process.wait() == code
        if number != signal.SIGKILL:
            assert "saved" in rest
            assert rest[-1] in ("finished", "saved")
    with start(toy_recipe, "-o", "parts", "--json", *longer) as last:
        events = [json.loads(line) for line in last.stdout]
        assert last.wait() == 0
    assert events[0]["event"] == "prepared"
    assert events[0]["resumed_step"] >= 90
    assert events[-1]["event"] == "published"
    assert logged(folder / "parts") == logged(folder / "whole")
    assert published_weights(folder / "parts") == published_weights(folder / "whole")


@pytest.mark.skipif(sys.platform == "win32", reason="signals are those of POSIX")
def test_a_terminal_that_went_away_does_not_end_the_training(toy_recipe):
    with start(toy_recipe, "-o", "run", "--json") as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.wait() == 0
    assert (toy_recipe.parent / "run" / "model" / "manifest.json").is_file()


def test_without_a_terminal_there_are_plain_lines_on_standard_error(toy_recipe):
    environment = {key: value for key, value in os.environ.items() if key not in ("FORCE_COLOR", "TTY_COMPATIBLE")}
    with start(toy_recipe, stderr=subprocess.PIPE, env=environment) as process:
        output, error = process.communicate()
        assert process.returncode == 0
    assert output == ""
    assert "\x1b" not in error
    run = toy_recipe.parent / "runs" / "toy"
    lines = error.splitlines()
    assert lines[0].startswith(f"{run}: starting; ")
    assert lines[0].endswith("cpu, fp32, 1 threads")
    assert lines[1:3] == ["  train: 60 of 60 pairs are used", "  validation: 6 of 6 pairs are used"]
    assert lines[3].startswith("step 1  epoch 1  loss ")
    assert any(line.startswith("validation after step 4: loss ") and line.endswith("  best so far") for line in lines)
    assert "finished after step 12: the limit of steps is reached" in lines
    assert lines[-1].endswith(f" is in {run / 'model'}")
    again = subprocess.run([*COMMAND, "toy.yaml"], cwd=toy_recipe.parent, capture_output=True, text=True, check=False)
    assert (again.returncode, again.stdout) == (0, "")
    assert again.stderr == f"{run} is finished (step 12); its model is {run / 'model'}\n"


def test_several_seeds_give_mean_and_spread(toy_recipe, monkeypatch, capsys):
    monkeypatch.chdir(toy_recipe.parent)
    arguments = ["train", "toy.yaml", "training.steps=2", "training.average=1", "-o", "run", "--seeds", "2", "--quiet"]
    assert main.run(arguments) == 0
    first = capsys.readouterr().err
    assert first.startswith("per of 2 seeds: ")
    assert " ± " in first
    seeds = [Recipe.read(Path("run") / f"seed-{seed}" / "recipe.yaml").training.seed for seed in (1, 2)]
    assert seeds == [1, 2]
    assert main.run(arguments) == 0
    assert capsys.readouterr().err == first


def test_print_config_is_a_recipe_of_its_own(toy_recipe, capsys, tmp_path):
    assert main.run(["train", str(toy_recipe), "model.size=32", "--print-config"]) == 0
    text = capsys.readouterr().out
    assert "  size: 32\n" in text
    assert "  evaluate_beam_size: 1\n" in text
    again = tmp_path / "again.yaml"
    again.write_text(text)
    assert Recipe.read(again) == Recipe.read(toy_recipe, ["model.size=32"])
    assert not (tmp_path / "runs").exists()


def test_dry_run_shows_the_plan_and_trains_nothing(toy_recipe, capsys, monkeypatch):
    monkeypatch.chdir(toy_recipe.parent)
    assert main.run(["train", "toy.yaml", "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["train: 60 of 60 pairs are used", "validation: 6 of 6 pairs are used"]
    assert lines[2] == "vocabularies: 10 source, 10 target, shared"
    assert lines[3].startswith("model: transformer, ")
    assert lines[5].startswith("run: until step 12 (")
    assert not Path("runs").exists()


def test_a_recipe_without_a_usable_name_needs_an_output(toy_recipe, capsys):
    odd = toy_recipe.rename(toy_recipe.with_name("two words.yaml"))
    assert main.run(["train", str(odd)]) == 2
    assert capsys.readouterr().err == (
        "regard: error: no run folder can be named after 'two words.yaml'; name one with --output\n"
    )


def test_a_locked_run_folder_is_exit_code_5(toy_recipe, capsys):
    from regard.checkpoint.run_folder import RunFolder

    with RunFolder.create_or_open(toy_recipe.parent / "run"):
        assert main.run(["train", str(toy_recipe), "-o", str(toy_recipe.parent / "run")]) == 5
    assert f"in use by process {os.getpid()} on " in capsys.readouterr().err


def test_missing_data_is_exit_code_3_and_leaves_no_run_folder(toy_recipe, capsys):
    run = toy_recipe.parent / "run"
    assert main.run(["train", str(toy_recipe), "data.train=[nothing]", "-o", str(run)]) == 3
    assert "nothing" in capsys.readouterr().err
    assert not run.exists()
