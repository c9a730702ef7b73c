"""What `regard train` shows: a live view on a terminal, plain lines elsewhere, JSON where a machine reads."""

import json
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
from rich.text import Text

from regard.checkpoint.log import plain
from regard.cli.main import forget_output
from regard.evaluation.flops import readable
from regard.pipelines import events
from regard.training.events import Evaluated, Finished, Skipped, Step

SECONDS_BETWEEN_LINES = 10.0
BARS = " ▁▂▃▄▅▆▇█"


class View(ABC):
    """Shows the events of a run. A terminal that went away (`| head`) must not end the training: it falls silent."""

    def __init__(self) -> None:
        self._silent = False

    def show(self, event: events.Event) -> None:
        """Show one event."""
        if self._silent:
            return
        try:
            self._show(event)
        except (BrokenPipeError, ValueError, OSError):  # ValueError: the stream is closed
            self._silent = True

    @abstractmethod
    def _show(self, event: events.Event) -> None: ...

    def close(self) -> None:  # noqa: B027  most views have nothing to close
        """Give the terminal back."""


class QuietView(View):
    """Shows warnings only."""

    def _show(self, event: events.Event) -> None:
        if isinstance(event, events.Warned | Skipped):
            _tell(_sentence(event))


class JsonView(View):
    """One JSON object a line on standard output: the event's name and its fields; "nan" and "inf" are texts."""

    def _show(self, event: events.Event) -> None:
        record = {"event": type(event).__name__.lower(), **_plain(event._asdict())}
        line = json.dumps(plain(record), ensure_ascii=False, allow_nan=False)
        try:
            sys.stdout.write(line + "\n")
            sys.stdout.flush()
        except BrokenPipeError:
            forget_output()  # the training ends with its own code, whether somebody reads of it or not
            raise


class PlainView(View):
    """One line now and then, for logs."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._pace = Pace(clock)
        self._clock = clock
        self._next_line = 0.0

    def _show(self, event: events.Event) -> None:
        if isinstance(event, Step):
            self._pace.add(event)
            self._now_and_then(f"step {event.step:,}  {self._pace.describe(event)}")
        elif isinstance(event, events.Preparing):
            self._now_and_then(_preparing(event))
        elif sentence := _sentence(event):
            _tell(sentence)

    def _now_and_then(self, line: str) -> None:
        if self._clock() >= self._next_line:
            self._next_line = self._clock() + SECONDS_BETWEEN_LINES
            _tell(line)


class LiveView(View):
    """A line that moves, with the validations above it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._pace = Pace(clock)
        self._scores: list[float] = []
        console = Console(stderr=True, highlight=False)
        columns = (BarColumn(bar_width=20), TaskProgressColumn(), TextColumn("{task.description}", markup=False))
        self._progress = Progress(*columns, console=console, refresh_per_second=4)
        self._task = self._progress.add_task("preparing the data", total=1.0)
        self._progress.start()

    def _show(self, event: events.Event) -> None:
        if isinstance(event, Step):
            self._pace.add(event)
            text = f"step {event.step:,}  {self._pace.describe(event)}"
            self._progress.update(self._task, completed=event.progress, description=text)
        elif isinstance(event, events.Preparing):
            self._progress.update(self._task, completed=event.done / event.total, description=_preparing(event))
        elif sentence := _sentence(event):
            if isinstance(event, Evaluated):
                self._scores.append(_deciding(event))
                sentence = f"{sentence}  {sparkline(self._scores)}"
            self._progress.console.print(Text(sentence))

    def close(self) -> None:
        """Stop the moving line."""
        with suppress(BrokenPipeError, ValueError, OSError):
            self._progress.stop()


class Pace:
    """Tokens per second and the time that is left, smoothed over the last few dozen steps."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._began: tuple[float, float] | None = None
        self._tokens = self._seconds = self._loss = 0.0

    def add(self, event: Step) -> None:
        """Take in one step."""
        if self._began is None:
            self._began = (self._clock(), event.progress)
            self._loss = event.loss
        self._tokens = 0.97 * self._tokens + event.num_target_tokens
        self._seconds = 0.97 * self._seconds + event.seconds
        self._loss = 0.97 * self._loss + 0.03 * event.loss

    def describe(self, event: Step) -> str:
        """The step's figures in one line."""
        speed = self._tokens / max(self._seconds, 1e-9)
        return (
            f"epoch {event.epoch}  loss {self._loss:.3f}  {speed:,.0f} tokens/s  "
            f"lr {event.learning_rate:.2e}  norm {event.gradient_norm:.2f}{self._left(event)}"
        )

    def _left(self, event: Step) -> str:
        """What is left of the run; nothing as long as there is no step whose time is known."""
        assert self._began is not None
        began, progress = self._began
        done = event.progress - progress
        if done <= 0:
            return ""
        return f"  {duration((self._clock() - began) / done * (1 - event.progress))} left"


def make_view(*, quiet: bool, as_json: bool) -> View:
    """The view that suits the options and the terminal."""
    if as_json:
        return JsonView()
    if quiet:
        return QuietView()
    return LiveView() if Console(stderr=True).is_terminal and not Console(stderr=True).is_dumb_terminal else PlainView()


def duration(seconds: float) -> str:
    """`75` becomes `1:15`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def sparkline(values: list[float], width: int = 24) -> str:
    """The last values as little bars, lowest to highest."""
    shown = values[-width:]
    low, high = min(shown), max(shown)
    scale = (len(BARS) - 2) / (high - low) if high > low else 0.0
    return "".join(BARS[1 + round((value - low) * scale)] for value in shown)


def describe_scores(scores: dict[str, float]) -> str:
    """`loss 2.913, perplexity 18.41, bleu 31.20`."""
    return ", ".join(
        f"{name} {value:.3f}" if name == "loss" else f"{name} {value:.2f}" for name, value in scores.items()
    )


def _deciding(event: Evaluated) -> float:
    names = [name for name in event.scores if name not in ("loss", "perplexity")]
    return event.scores[names[0]] if names else event.scores.get("loss", 0.0)


def _sentence(event: events.Event) -> str:
    """An event in words; empty where there is nothing to say."""
    match event:
        case events.Prepared():
            return _prepared(event)
        case Evaluated():
            best = "  best so far" if event.improved else ""
            return f"validation after step {event.step:,}: {describe_scores(event.scores)}{best}"
        case events.Sample():
            return f"  source  {event.source}\n  model   {event.hypothesis}\n  right   {event.reference}"
        case Skipped():
            return f"warning: no update after step {event.step:,}: {event.reason} (rows {event.rows[:8]})"
        case events.Warned():
            return f"warning: {event.message}"
        case Finished():
            return _finished(event)
        case events.Published():
            lines = [f"  {candidate.name}: {describe_scores(candidate.scores)}" for candidate in event.candidates]
            spent = (
                [f"the training took {readable(event.flops)} counted floating-point operations"] if event.flops else []
            )
            end = f"{event.chosen} is in {event.folder}"
            return "\n".join(["candidates for the model folder:", *lines, *spent, end])
        case events.AlreadyFinished():
            return f"{event.folder} is finished (step {event.step:,}); its model is {event.model}"
    return ""


def _preparing(event: events.Preparing) -> str:
    return f"preparing the data: {event.done:,} of {event.total:,} {event.what}"


def _prepared(event: events.Prepared) -> str:
    began = f"going on after step {event.resumed_step:,}" if event.resumed_step else "starting"
    sides = f"vocabularies of {event.source_vocabulary:,} + {event.target_vocabulary:,}"
    if event.picture is not None:
        height, width = event.picture
        sides = (
            f"pictures of {height} x {width} x {event.source_vocabulary}, a vocabulary of {event.target_vocabulary:,}"
        )
    return "\n".join(
        [
            f"{event.folder}: {began}; {event.num_parameters:,} parameters, {event.num_train:,} training and "
            f"{event.num_validation:,} validation pairs, {sides}; "
            f"{event.device}, {event.precision}, {event.threads} threads",
            *(f"  {note}" for note in event.notes),
        ]
    )


def _finished(event: Finished) -> str:
    if event.reason == "stopped":
        return f"stopped after step {event.step:,}; the same command goes on from there"
    why = "no better score for a while" if event.reason == "patience" else f"the limit of {event.reason} is reached"
    sentence = f"finished after step {event.step:,}: {why}"
    if event.warmup:
        sentence += (
            f"\nthe learning rate was still rising: its warm-up has {event.warmup:,} steps; "
            "train longer, or set training.schedule.warmup to a tenth of the steps that there are"
        )
    return sentence


def _plain(value: Any) -> Any:
    """`value` with everything that JSON does not know replaced."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if hasattr(value, "_asdict"):
        return _plain(value._asdict())
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _tell(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
