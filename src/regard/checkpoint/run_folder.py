"""The run folder: everything that one training run writes, owned by one process at a time."""

import json
import logging
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from torch import Tensor

from regard.checkpoint.checkpoints import CHECKPOINTS, MODEL, Checkpoint, Checkpoints
from regard.checkpoint.lock import RunLock
from regard.checkpoint.log import EventLog
from regard.checkpoint.publish import make_folders, sweep, write_file
from regard.checkpoint.storage import Storage
from regard.errors import ModelError, UsageError

RECIPE = "recipe.yaml"
CARD = "card.json"
LOG = "log.jsonl"
VALIDATIONS = "validations.tsv"
HYPOTHESES = "hypotheses"
_WARN = logging.getLogger("regard").warning


def read_card(folder: Path) -> dict[str, Any]:
    """The facts of the run in `folder`; empty if none have been stored. Takes no lock.

    Raises:
        ModelError: the file is damaged.
    """
    path = folder / CARD
    if not path.is_file():
        return {}
    try:
        card: dict[str, Any] = json.loads(path.read_bytes())
    except ValueError as error:
        raise ModelError(f"{path}: damaged: {error}") from None
    return card


class RunFolder:
    """A run folder of which this process holds the lock; a context manager that gives the lock back.

    `path` is the folder; `model` is where the run's final model folder belongs.
    """

    def __init__(self, path: Path, lock: RunLock, checkpoints: Checkpoints, *, storage: Storage) -> None:
        self.path = path
        self.model = path / MODEL
        self._lock = lock
        self._checkpoints = checkpoints
        self._storage = storage
        self._log = EventLog(path / LOG)

    @classmethod
    def create_or_open(
        cls,
        path: str | Path,
        *,
        keep_last: int = 3,
        keep_best: int = 1,
        keep_scored: int = 0,
        notify: Callable[[str], None] = _WARN,
        storage: Storage | None = None,
    ) -> "RunFolder":
        """Take the run folder at `path`, which is made if need be, and clear away what a killed process left.

        `notify` hears one sentence about anything unusual: a dead holder, a damaged checkpoint, a failed removal.

        Raises:
            LockedError: another process is using it.
            UsageError: it is some other folder.
            UserError: it cannot be made or written.
        """
        path, storage = check_run_path(path), storage or Storage()
        checkpoints = Checkpoints(
            path, keep_last=keep_last, keep_best=keep_best, keep_scored=keep_scored, notify=notify, storage=storage
        )
        make_folders(path / CHECKPOINTS, storage=storage)
        lock = RunLock(path, notify=notify)
        try:
            sweep(path, notify=notify, storage=storage)
            sweep(path / CHECKPOINTS, notify=notify, storage=storage)
            return cls(path, lock, checkpoints, storage=storage)
        except BaseException:
            lock.release()
            raise

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the log and give the lock back."""
        self._log.close()
        self._lock.release()

    # --- what the run is

    def write_recipe(self, text: str) -> None:
        """Store the resolved recipe."""
        write_file(self.path / RECIPE, text.encode(), storage=self._storage)

    def recipe(self) -> str | None:
        """The resolved recipe, if one has been stored."""
        path = self.path / RECIPE
        return path.read_text(encoding="utf-8") if path.is_file() else None

    def write_card(self, card: Mapping[str, Any]) -> None:
        """Store the run's facts: hashes of data and tokenizers, versions, seed, threads, command, signatures."""
        text = json.dumps(card, indent=1, ensure_ascii=False) + "\n"
        write_file(self.path / CARD, text.encode(), storage=self._storage)

    def card(self) -> dict[str, Any]:
        """The run's facts; empty if none have been stored.

        Raises:
            ModelError: the file is damaged.
        """
        return read_card(self.path)

    # --- checkpoints

    def publish(
        self,
        step: int,
        model_state: Mapping[str, Tensor],
        state_tensors: Mapping[str, Tensor],
        state_values: Mapping[str, Any],
        *,
        score: float | None = None,
        files: Mapping[str, bytes] | None = None,
    ) -> Checkpoint:
        """Publish the checkpoint of `step`; see `Checkpoints.publish`."""
        return self._checkpoints.publish(step, model_state, state_tensors, state_values, score=score, files=files)

    def newest(self) -> Checkpoint | None:
        """The newest checkpoint that verifies; None if none was ever published.

        Raises:
            ModelError: there are checkpoints, but not one verifies.
        """
        return next(iter(self._checkpoints.newest()), None)

    def best(self) -> Checkpoint | None:
        """The checkpoint of the highest score that verifies; None if none has a score."""
        return next(iter(self._checkpoints.best()), None)

    # --- what happened

    def log(self, event: Mapping[str, Any]) -> None:
        """Append an event to `log.jsonl`; its `step`, if it has one, decides what a resumed run keeps."""
        self._log.add(event)

    def truncate_log(self, step: int, *, evaluated: bool = True) -> None:
        """Forget what was logged and validated after `step`, which is about to be done again.

        Without `evaluated` the event called so of `step` itself goes as well: the checkpoint was taken before it.
        """
        self._log.truncate(step, again=None if evaluated else "evaluated")
        last = step if evaluated else step - 1
        rows = [row for row in self.validations() if int(row["step"]) <= last]
        if rows != self.validations():
            self._write_validations(rows)

    def validations(self) -> list[dict[str, str]]:
        """The rows of `validations.tsv`, as text: `step`, and one column a measure."""
        path = self.path / VALIDATIONS
        if not path.is_file():
            return []
        header, *rows = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
        return [dict(zip(header.split("\t"), row.split("\t"), strict=True)) for row in rows]

    def add_validation(self, step: int, measures: Mapping[str, float]) -> None:
        """Append a row to `validations.tsv`; a new measure gets a column of its own."""
        row = {"step": str(step), **{name: f"{value:.6g}" for name, value in measures.items()}}
        self._write_validations([*self.validations(), row])

    def _write_validations(self, rows: list[dict[str, str]]) -> None:
        columns = list(dict.fromkeys(["step", *(name for row in rows for name in row)]))
        lines = [columns, *([row.get(name, "") for name in columns] for row in rows)]
        text = "".join("\t".join(line) + "\n" for line in lines)
        write_file(self.path / VALIDATIONS, text.encode(), storage=self._storage)

    def write_hypotheses(self, step: int, lines: Iterable[str]) -> Path:
        """Store what the model said at `step` on the validation data, a line each; returns the file."""
        path = self.path / HYPOTHESES / f"step-{step:08d}.txt"
        make_folders(path.parent, storage=self._storage)
        write_file(path, "".join(f"{line}\n" for line in lines).encode(), storage=self._storage)
        return path


def check_run_path(path: str | Path) -> Path:
    """Accept `path` as a run folder: new, empty, or one already.

    Raises:
        UsageError: its name cannot be one, or something else is there.
    """
    path = Path(os.path.abspath(path))
    if any(ord(character) < 32 for character in str(path)) or not path.name or len(path.name.encode()) > 200:
        raise UsageError(f"{str(path)!r} cannot be a run folder: no control characters, at most 200 bytes a name")
    if path.exists() and not path.is_dir():
        raise UsageError(f"{path} is a file; name a folder for the run")
    if path.is_dir() and not (path / CHECKPOINTS).is_dir() and any(path.iterdir()):
        raise UsageError(f"{path} holds other files and is no run folder; name a new folder for the run")
    return path
