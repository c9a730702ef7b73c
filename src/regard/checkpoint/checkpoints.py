"""The checkpoints of a run: one folder a step, each complete; which is the newest, which the best, which may go."""

import json
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor, nn

from regard.checkpoint.assembly import fill
from regard.checkpoint.manifest import Entry, read_manifest, read_verified, verify
from regard.checkpoint.publish import Content, remove_published, write_file, write_folder
from regard.checkpoint.storage import Storage
from regard.checkpoint.weights import Tensors, read_tensors, refuse_non_finite
from regard.errors import ModelError, UserError

CHECKPOINTS = "checkpoints"
MODEL = "model"  # a run's final model folder
WEIGHTS = "model.safetensors"
STATE = "state.safetensors"
VALUES = "state.json"
AVERAGE = "average."  # begins the names of a moving average's tensors in the state
_STEP = re.compile(r"step-(\d{8,12})")


class Checkpoint(NamedTuple):
    """A verified checkpoint: the step after which it was taken, and its validation score (more is better)."""

    folder: Path
    step: int
    score: float | None

    def model_state(self) -> dict[str, Tensor]:
        """The weights; tied tensors under one of their names only, so give them to a model by `restore`.

        Raises:
            ModelError: the file has been damaged.
        """
        content = read_verified(self.folder, WEIGHTS, read_manifest(self.folder))
        return read_tensors(self.folder / WEIGHTS, content)

    def restore(self, model: nn.Module) -> None:
        """Give `model` the weights.

        Raises:
            ModelError: they are those of another architecture, not finite, or damaged.
        """
        tensors = self.model_state()
        refuse_non_finite(self.folder / WEIGHTS, tensors)
        fill(model, tensors, path=self.folder / WEIGHTS)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The trainer's state: its tensors and its plain values, as they were given to `publish`.

        Raises:
            ModelError: a file has been damaged.
        """
        entries = read_manifest(self.folder)
        tensors = read_tensors(self.folder / STATE, read_verified(self.folder, STATE, entries))
        return tensors, json.loads(read_verified(self.folder, VALUES, entries))["values"]


def evaluated_weights(folder: Path, entries: Mapping[str, Entry]) -> dict[str, Tensor]:
    """The weights in `folder` that were evaluated: of a checkpoint that keeps a moving average, that.

    Raises:
        ModelError: a file is damaged, or a number is not finite.
    """
    tensors = read_tensors(folder / WEIGHTS, read_verified(folder, WEIGHTS, entries))
    if STATE in entries:
        state = read_tensors(folder / STATE, read_verified(folder, STATE, entries))
        tensors |= {name.removeprefix(AVERAGE): state[name] for name in state if name.startswith(AVERAGE)}
    refuse_non_finite(folder / WEIGHTS, tensors)
    return tensors


class Checkpoints:
    """The folder `checkpoints` of a run. Reading needs no lock: only what is published is ever seen.

    Only the owner of the run's lock may `publish`. The files `latest` and `best` beside the folder are hints for
    people: this class looks at the checkpoints themselves. The newest `keep_last` stay, the newest `keep_scored` of
    those that were evaluated, and the best `keep_best`.
    """

    def __init__(
        self,
        run: Path,
        *,
        keep_last: int = 3,
        keep_best: int = 1,
        keep_scored: int = 0,
        notify: Callable[[str], None],
        storage: Storage | None = None,
    ) -> None:
        if keep_last < 1 or keep_best < 1:
            raise ValueError("keep_last and keep_best must be at least 1")
        self._run = run
        self._folder = run / CHECKPOINTS
        self._keep = (keep_last, keep_best, keep_scored)
        self._notify = notify
        self._storage = storage or Storage()
        self._stuck: set[Path] = set()

    def folders(self) -> list[tuple[int, Path]]:
        """Steps and folders of everything published, oldest first; not verified."""
        found = []
        for path in self._folder.iterdir() if self._folder.is_dir() else ():
            match = _STEP.fullmatch(path.name)
            if match and path.is_dir() and not path.is_symlink():
                found.append((int(match.group(1)), path))
        return sorted(found)

    def newest(self, number: int = 1) -> list[Checkpoint]:
        """The `number` newest checkpoints that verify, newest first; `notify` hears of those that do not.

        Raises:
            ModelError: there are checkpoints, but not one verifies.
        """
        return self._verified([path for _, path in reversed(self.folders())], number)

    def best(self, number: int = 1) -> list[Checkpoint]:
        """The `number` checkpoints of the highest score that verify, best first; of equals the earlier.

        Raises:
            ModelError: there are scored checkpoints, but not one verifies.
        """
        return self._verified(self._ranked(), number)

    def _verified(self, folders: list[Path], number: int) -> list[Checkpoint]:
        good: list[Checkpoint] = []
        problems = []
        for folder in folders:
            if len(good) == number:
                break
            try:
                verify(folder)
                good.append(_read(folder))
            except ModelError as error:
                problems.append(str(error))
        if problems and not good:
            raise ModelError(f"{self._folder}: no checkpoint is intact: {'; '.join(problems)}")
        for problem in problems:
            self._notify(f"checkpoint skipped: {problem}")
        return good

    def _ranked(self) -> list[Path]:
        # Those with a score, the best first; of equals the earlier.
        scores = {path: score for _, path in self.folders() if (score := _score(path)) is not None}
        return sorted(scores, key=lambda path: -scores[path])

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
        """Publish the checkpoint of `step`, then remove what need not be kept.

        `score` is the validation score, where one was taken: more is better. `files` are the other files of a model
        folder (`describe`), with which the checkpoint is itself a model that can be loaded.

        Raises:
            UserError: it cannot be written; every earlier checkpoint is untouched then.
            ModelError: a weight is not finite.
        """
        refuse_non_finite(Path(WEIGHTS), model_state)
        folder = self._folder / f"step-{step:08d}"
        score = score if score is not None and math.isfinite(score) else None
        values = json.dumps({"step": step, "score": score, "values": dict(state_values)}, indent=1) + "\n"
        content: dict[str, bytes | Content] = {
            WEIGHTS: Tensors(model_state),
            STATE: Tensors(state_tensors),
            VALUES: values.encode(),
        }
        write_folder(folder, {**(files or {}), **content}, replace=True, storage=self._storage)
        self._hint("latest", folder)
        ranked = self._ranked()
        if ranked[:1] == [folder]:
            self._hint("best", folder)
        self._prune(folder, ranked)
        return Checkpoint(folder, step, score)

    def _hint(self, name: str, folder: Path) -> None:
        try:
            write_file(self._run / name, f"{folder.name}\n".encode(), storage=self._storage)
        except UserError as error:
            self._notify(f"{error}; training goes on, for `{name}` is only a hint")

    def _prune(self, newest: Path, ranked: list[Path]) -> None:
        keep_last, keep_best, keep_scored = self._keep
        paths = [path for _, path in self.folders()]
        scored = [path for path in reversed(paths) if _score(path) is not None]
        kept = {newest, *paths[-keep_last:], *scored[:keep_scored], *ranked[:keep_best]}
        doomed = [path for path in paths if path not in kept]
        if not doomed:
            return
        try:
            verify(newest)  # as read back from the disk; before that, nothing older may go
        except ModelError as error:
            self._notify(f"no older checkpoint is removed, for the new one is not intact: {error}")
            return
        for folder in doomed:
            try:
                remove_published(folder, storage=self._storage)
            except OSError as error:
                if folder not in self._stuck:
                    self._notify(f"{folder}: cannot be removed now: {error.strerror}; tried again later")
                self._stuck.add(folder)


def _score(folder: Path) -> float | None:
    try:
        return _read(folder).score
    except ModelError:
        return None  # damaged, which `newest` and `best` will tell


def _read(folder: Path) -> Checkpoint:
    path = folder / VALUES
    try:
        document = json.loads(read_verified(folder, VALUES, read_manifest(folder)))
        return Checkpoint(folder, int(document["step"]), document["score"])
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path}: not understood: {error}") from None
