"""What the views say of each event."""

import json
import os
import sys
from pathlib import Path

import pytest

from regard.cli import live
from regard.pipelines import events
from regard.training.events import Evaluated, Finished, Improved, Skipped, Step

PREPARED = events.Prepared(Path("run"), 7577600, 29000, 1014, 8000, 8000, "cpu", "bf16", 2, 0, ("a note",))
STEP = Step(1, 1, 9.25, 9.0, 3000, 2900, 2e-6, 1.5, 0.5, 0.25)


class Clock:
    """A clock that is set by hand."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def test_a_plain_line_appears_now_and_then(capsys):
    clock = Clock()
    view = live.PlainView(clock)
    for number in range(1, 5):
        view.show(STEP._replace(step=number, progress=0.25 * number))
        clock.now += 6
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "step 1  epoch 1  loss 9.250  6,000 tokens/s  lr 2.00e-06  norm 1.50",
        "step 3  epoch 1  loss 9.250  6,000 tokens/s  lr 2.00e-06  norm 1.50  0:06 left",
    ]


def test_a_long_preparation_is_told_now_and_then(capsys):
    clock = Clock()
    view = live.PlainView(clock)
    for number in range(4):
        view.show(events.Preparing("pictures seen", 1000 * number, 4000))
        clock.now += 6
    start, two = capsys.readouterr().err.splitlines()
    assert (start, two) == tuple(f"preparing the data: {number} of 4,000 pictures seen" for number in ("0", "2,000"))
    moving = live.LiveView()
    moving.show(events.Preparing("pictures seen", 1000, 4000))
    moving.close()
    (task,) = moving._progress.tasks
    assert (task.percentage, task.description) == (25, "preparing the data: 1,000 of 4,000 pictures seen")


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (
            PREPARED,
            "run: starting; 7,577,600 parameters, 29,000 training and 1,014 validation pairs, "
            "vocabularies of 8,000 + 8,000; cpu, bf16, 2 threads\n  a note",
        ),
        (
            Evaluated(570, 2, {"loss": 2.9134, "perplexity": 18.42, "bleu": 31.204}, True, 3.0),
            "validation after step 570: loss 2.913, perplexity 18.42, bleu 31.20  best so far",
        ),
        (
            Evaluated(570, 2, {"loss": 2.9134}, False, 3.0),
            "validation after step 570: loss 2.913",
        ),
        (events.Sample(5, "a", "b", "c"), "  source  a\n  model   b\n  right   c"),
        (events.Warned("disk full"), "warning: disk full"),
        (
            Skipped(4, 1, "loss or gradient is not finite", [1, 2]),
            "warning: no update after step 4: loss or gradient is not finite (rows [1, 2])",
        ),
        (Finished(1200, "minutes"), "finished after step 1,200: the limit of minutes is reached"),
        (
            Finished(12, "epochs", warmup=4000),
            "finished after step 12: the limit of epochs is reached\n"
            "the learning rate was still rising: its warm-up has 4,000 steps; "
            "train longer, or set training.schedule.warmup to a tenth of the steps that there are",
        ),
        (Finished(1200, "patience"), "finished after step 1,200: no better score for a while"),
        (Finished(1200, "stopped"), "stopped after step 1,200; the same command goes on from there"),
        (
            events.Published(
                Path("run/model"),
                "bleu",
                38.6,
                "the average",
                (
                    events.Candidate("the best checkpoint", (8,), {"bleu": 38.5}),
                    events.Candidate("the average", (8, 4), {"bleu": 38.6}),
                ),
                4_310_000_000_000_000,
            ),
            "candidates for the model folder:\n  the best checkpoint: bleu 38.50\n  the average: bleu 38.60\n"
            "the training took 4.3e15 counted floating-point operations\nthe average is in run/model",
        ),
    ],
)
def test_an_event_is_a_sentence(event, text, capsys):
    live.PlainView().show(event)
    assert capsys.readouterr() == ("", text + "\n")


def test_quiet_keeps_the_warnings(capsys):
    view = live.QuietView()
    for event in (PREPARED, STEP, events.Warned("disk full"), Finished(1, "steps")):
        view.show(event)
    assert capsys.readouterr() == ("", "warning: disk full\n")


def test_json_is_one_object_a_line_on_standard_output(capsys):
    view = live.JsonView()
    for event in (PREPARED, STEP, Improved(4, "bleu", 31.2), events.Saved(4, Path("run/x"))):
        view.show(event)
    output, error = capsys.readouterr()
    records = [json.loads(line) for line in output.splitlines()]
    assert error == ""
    assert [record["event"] for record in records] == ["prepared", "step", "improved", "saved"]
    assert records[0]["folder"] == "run"
    assert records[1]["loss"] == 9.25


def test_json_has_no_numbers_that_json_does_not_have(capsys):
    live.JsonView().show(Improved(4, "loss", float("nan")))
    assert '"score": "nan"' in capsys.readouterr().out


def test_nobody_needs_to_read_the_json_to_its_end(monkeypatch):
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as output:  # whose end would fail, and the exit code be that of a closed pipe
        monkeypatch.setattr(sys, "stdout", output)
        view = live.JsonView()
        view.show(STEP)
        view.show(STEP)


def test_the_live_view_survives_a_whole_run(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "20")
    view = live.LiveView()
    for event in (PREPARED, STEP, Evaluated(570, 2, {"loss": 2.9, "bleu": 31.2}, True, 3.0), Finished(570, "steps")):
        view.show(event)
    view.close()
    output, error = capsys.readouterr()
    assert output == ""
    assert "validation" in error


def test_a_broken_terminal_silences_the_view(monkeypatch):
    class Broken:
        def write(self, text):
            raise BrokenPipeError

        def flush(self): ...

    monkeypatch.setattr("sys.stderr", Broken())
    view = live.PlainView()
    view.show(PREPARED)
    view.show(STEP)


def test_sparklines_go_from_lowest_to_highest():
    assert live.sparkline([1.0, 2.0, 3.0]) == "▁▅█"
    assert live.sparkline([5.0]) == "▁"
    assert len(live.sparkline(list(map(float, range(100))))) == 24


@pytest.mark.parametrize(("seconds", "text"), [(0.0, "0:00"), (75.0, "1:15"), (3725.4, "1:02:05")])
def test_durations(seconds, text):
    assert live.duration(seconds) == text
