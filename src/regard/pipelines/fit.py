"""A whole training run: run folder, data, model, training, validation by decoding, checkpoints, model folder."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from regard.checkpoint.model_folder import describe, dimensions_of
from regard.checkpoint.resume import check_resume, compare_recipes
from regard.checkpoint.run_folder import RECIPE, RunFolder
from regard.config.document import parse_yaml
from regard.data.batching import Batches
from regard.data.dataset import Dataset, Vocabularies, prepare
from regard.errors import DataError, UsageError, UserError
from regard.pipelines import disk, memory
from regard.pipelines.batch_size import find_batch_tokens
from regard.pipelines.batches import training_batches
from regard.pipelines.card import run_card
from regard.pipelines.events import AlreadyFinished, Event, Prepared, Preparing, Sample, Saved, Warned
from regard.pipelines.features import with_features
from regard.pipelines.finish import publish_model
from regard.pipelines.pretrained import bring_pretrained
from regard.pipelines.start import given_vocabularies, open_start, refuse_misfit, start_from
from regard.pipelines.teacher import open_teachers, refuse_other_eyes, refuse_other_vocabularies, teacher_fingerprints
from regard.pipelines.tensorboard import TensorBoard
from regard.pipelines.validation import Stopped, Validated, validate
from regard.protocol import Model, Pretrained
from regard.recipe import Recipe
from regard.training.events import Evaluated, Finished, Improved, Step
from regard.training.loop import train
from regard.training.numerics import Machine, choose_device, peak_memory, set_up_machine
from regard.training.state import TrainerState

# So many checkpoints in a row may fail to be written (a full disk) before the run gives up.
MAX_FAILED_SAVES = 3


def fit(
    recipe: Recipe,
    folder: str | Path,
    *,
    fresh: bool = False,
    device: str = "auto",
    command: str = "",
    should_stop: Callable[[], bool] = lambda: False,
    tell: Callable[[Preparing], None] = lambda event: None,
) -> Iterator[Event]:
    """Train by `recipe` in the run folder `folder`, or go on where an earlier process stopped; yield what happens.

    The end is `Published`: the model folder is complete. After `should_stop` everything is saved and the last
    event is `Finished` with the reason "stopped"; the same call goes on from there, bit for bit. Before the first event
    there is nothing to save; how far a long preparation has come is said to `tell`.

    Raises:
        LockedError: another process is training in `folder`.
        UsageError: `folder` holds another run, or (with `fresh`) any run.
        DataError: the data cannot be read, or is not what the run began with.
        UserError: training diverged, or nothing can be saved any more.
    """
    is_new, notes = not Path(folder).exists(), list[str]()
    training = recipe.training
    with RunFolder.create_or_open(
        folder, keep_last=training.keep_checkpoints, keep_scored=training.average, notify=notes.append
    ) as run:
        if fresh and run.recipe() is not None:
            raise UsageError(f"{run.path} holds a run already; remove it, or name another folder with --output")
        recipe = _settled(recipe, _stored_values(run))
        if finished := _finished(run, recipe):
            yield finished
            return
        try:
            job = _prepare(recipe, run, notes, device=device, command=command, tell=tell)
        except BaseException:
            if is_new:
                _remove_traces(run)
            raise
        yield job.prepared
        yield from job.run_to_the_end(should_stop)


def _finished(run: RunFolder, recipe: Recipe) -> AlreadyFinished | None:
    done = run.card().get("finished")
    if not done or _stored_values(run) != recipe.values() or not run.model.is_dir():
        return None
    return AlreadyFinished(run.path, done["step"], run.model, recipe.training.metric, done["score"])


def _remove_traces(run: RunFolder) -> None:
    """A run that could not even begin leaves nothing behind."""
    with suppress(OSError):
        for path in sorted(run.path.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        run.path.rmdir()


@dataclass
class Job:
    """Everything that one run needs while it runs."""

    recipe: Recipe
    run: RunFolder
    dataset: Dataset
    model: Model
    state: TrainerState
    card: dict[str, Any]
    prepared: Prepared
    notes: list[str]
    teachers: Sequence[Model] = ()
    last_saved: int = 0
    num_failed_saves: int = 0
    validated: Validated = field(default_factory=lambda: Validated({}, {}, []))

    def run_to_the_end(self, should_stop: Callable[[], bool]) -> Iterator[Event]:
        """Train, validate, save; at the end the model folder."""
        board = self._board()
        try:
            for event in self._train(should_stop):
                yield from self._record(event, board)
                yield event
                yield from self._after(event)
                yield from self._warnings()
        finally:
            if board is not None:
                board.close()
        if not (isinstance(event, Finished) and event.reason == "stopped"):
            yield from self._finish(should_stop)

    def _train(self, should_stop: Callable[[], bool]) -> Iterator[Step | Evaluated | Finished | Event]:
        def evaluate(model: torch.nn.Module, step: int) -> dict[str, float]:
            search = self.recipe.search
            beam_size = min(search.beam_size, self.recipe.training.evaluate_beam_size)
            quick = search.model_copy(update={"beam_size": beam_size, "n_best": 1})
            self.validated = validate(
                model, self.dataset, metric=self.recipe.training.metric, search_config=quick, should_stop=should_stop
            )
            return self.validated.scores

        training, batches = self.recipe.training, _batches(self.recipe, self.dataset, self.model)
        try:
            yield from train(
                self.model,
                batches,
                training,
                evaluate=evaluate,
                state=self.state,
                teachers=self.teachers,
                should_stop=should_stop,
            )
        except Stopped:
            yield Finished(self.state.position.step, "stopped")

    def _record(self, event: Event, board: TensorBoard | None) -> Iterator[Warned]:
        """Put the event into the logs; a log that cannot be written is no reason to stop training."""
        if isinstance(event, Improved):  # said by `Evaluated`, which is logged and saved as one
            return
        try:
            self.run.log({"event": type(event).__name__.lower(), **event._asdict()})
            if board is not None:
                board.add(event)
            if isinstance(event, Evaluated):
                self.run.add_validation(event.step, event.scores)
                if self.validated.hypotheses:
                    self.run.write_hypotheses(event.step, self.validated.hypotheses)
        except (UserError, OSError) as error:
            yield from self._warn_once(str(error))

    def _after(self, event: Event) -> Iterator[Event]:
        """Save where it is due, and show a sample of what the model says now."""
        now, every = self.state.position, self.recipe.training.save_every
        is_due = every is not None and every.is_due(step=now.step, epoch=now.epoch, batch=now.batch)
        if isinstance(event, Evaluated):
            yield from self._save(event.scores[self.recipe.training.metric])
            yield from self._sample(event.step)
        elif isinstance(event, Finished):
            if now.step != self.last_saved:
                yield from self._save(None, last=True)
        elif isinstance(event, Step) and is_due:
            yield from self._save(None)

    def _save(self, score: float | None, *, last: bool = False) -> Iterator[Event]:
        if score is not None and not self.recipe.training.higher_is_better:
            score = -score
        step = self.state.position.step
        try:
            checkpoint = self.run.publish(
                step,
                self.model.state_dict(),
                self.state.tensors(),
                self.state.values(),
                score=score,
                files=describe(self.recipe.model, self.dataset.vocabularies, search=self.recipe.search),
            )
        except UserError as error:
            self.num_failed_saves += 1
            if last or self.num_failed_saves >= MAX_FAILED_SAVES:
                raise
            yield Warned(f"{error}; training goes on, and the next checkpoint is tried in its turn")
            return
        self.last_saved, self.num_failed_saves = step, 0
        self._note_signatures()
        yield Saved(step, checkpoint.folder)

    def _note_signatures(self) -> None:
        if self.validated.signatures and self.card["signatures"] != self.validated.signatures:
            self.card["signatures"] = self.validated.signatures
            self.run.write_card(self.card)

    def _sample(self, step: int) -> Iterator[Sample]:
        if self.validated.hypotheses:
            row = step % len(self.validated.hypotheses)
            item = self.dataset.validation_items[row]
            yield Sample(step, item.source, self.validated.hypotheses[row], item.references[0])

    def _finish(self, should_stop: Callable[[], bool]) -> Iterator[Event]:
        try:
            published = publish_model(
                self.recipe,
                self.run,
                self.dataset,
                self.model,
                card=self.card,
                flops=self.state.position.flops,
                should_stop=should_stop,
            )
        except Stopped:
            yield Finished(self.state.position.step, "stopped")
            return
        now = self.state.position
        self.card["finished"] = {
            "step": now.step,
            "score": published.score,
            "num_tokens": now.num_tokens,
            "seconds": round(now.seconds, 1),
            "flops": now.flops,
            "peak_bytes": peak_memory(),
        }
        self.run.write_card(self.card)
        yield from self._warnings()
        yield published

    def _board(self) -> TensorBoard | None:
        try:
            return TensorBoard(self.run.path / "tensorboard", purge_step=self.state.position.step + 1)
        except OSError as error:
            self.notes.append(f"no TensorBoard events: {error}")
            return None

    def _warnings(self) -> Iterator[Warned]:
        while self.notes:
            yield Warned(self.notes.pop(0))

    def _warn_once(self, message: str) -> Iterator[Warned]:
        if "log_warning" not in self.card:
            self.card["log_warning"] = message
            yield Warned(f"{message}; training goes on without")


def _prepare(
    recipe: Recipe,
    run: RunFolder,
    notes: list[str],
    *,
    device: str,
    command: str,
    tell: Callable[[Preparing], None],
) -> Job:
    place = choose_device(device)
    machine = set_up_machine(threads=recipe.training.threads)
    changes = _changes(run, recipe)
    checkpoint = run.newest()
    start = open_start(recipe.training.start_from) if recipe.training.start_from and checkpoint is None else None
    teachers = open_teachers(recipe.training.teacher, device=place)
    taken = Vocabularies.load(checkpoint.folder) if checkpoint else given_vocabularies(recipe, start, teachers)
    dataset = prepare(recipe.data, taken)
    card = run_card(recipe, dataset.vocabularies, machine=machine, device=str(place), command=command)
    refuse_other_vocabularies(teachers, dataset.vocabularies)
    card["data"] |= teacher_fingerprints(teachers)
    _check_data(run, card)
    card["signatures"] = run.card().get("signatures", {})
    dimensions = dimensions_of(dataset.vocabularies)
    memory.refuse_too_large(recipe, dimensions, place)
    torch.manual_seed(recipe.training.seed)
    model = recipe.build(dimensions).to(place)
    refuse_misfit(model, dataset.vocabularies, recipe)
    if start is not None:
        start_from(model, start, dataset.vocabularies, recipe.kind)
    elif checkpoint is None and isinstance(model, Pretrained):
        bring_pretrained(model)
    state = TrainerState(model, recipe.training)
    if recipe.training.batch_tokens == "auto":
        tokens = find_batch_tokens(dataset.train, model, state.position.precision, readings=recipe.training.readings)
        recipe = recipe.with_training(batch_tokens=tokens)
    notes += memory.warnings(recipe, model, _batches(recipe, dataset, model))
    if checkpoint is not None:
        checkpoint.restore(model)
        state.load(*checkpoint.state())
    notes += disk.warnings(recipe, model, state, run.path)
    taught_by = [teacher.model for teacher in teachers]
    refuse_other_eyes(taught_by, model)
    dataset = with_features(dataset, model, tell=tell)
    now = state.position
    run.truncate_log(now.step, evaluated=now.evaluated_step == now.step)
    run.write_recipe(recipe.text())
    run.write_card(card)
    prepared = _describe(recipe, run, dataset, model, state, machine, [*notes, *changes, *dataset.report])
    notes.clear()
    return Job(recipe, run, dataset, model, state, card, prepared, notes, taught_by, last_saved=state.position.step)


def _batches(recipe: Recipe, dataset: Dataset, model: Model) -> Batches:
    tokens = recipe.training.batch_tokens
    assert isinstance(tokens, int), "settled by _prepare"
    return training_batches(recipe.training, dataset, model, batch_tokens=tokens)


def _changes(run: RunFolder, recipe: Recipe) -> list[str]:
    """What differs from the recipe that the run began with, as sentences; refuses what would make another model."""
    stored = _stored_values(run)
    if stored is None:
        return []
    differences = compare_recipes(stored, recipe.values())
    check_resume(differences)
    return [f"changed since the run began: {item.key} was {item.old}, is {item.new}" for item in differences]


def _settled(recipe: Recipe, stored: dict[str, Any] | None) -> Recipe:
    """What was found out at the beginning of the run stays as it was."""
    if recipe.training.batch_tokens != "auto" or stored is None:
        return recipe
    return recipe.with_training(batch_tokens=stored["training"]["batch_tokens"])


def _stored_values(run: RunFolder) -> dict[str, Any] | None:
    """The recipe that the run began with; what it does not say, for it is older, has today's defaults."""
    text = run.recipe()
    if text is None:
        return None
    values = parse_yaml(text, str(run.path / RECIPE)).values
    with suppress(UsageError):  # a key that is no more: then it differs as it stands
        return Recipe.parse(values, name=RECIPE).values()
    return values


def _check_data(run: RunFolder, card: dict[str, Any]) -> None:
    before = run.card()
    if before and before["data"] != card["data"]:
        changed = [name for name, value in card["data"].items() if before["data"].get(name) != value]
        raise DataError(
            f"the content of {', '.join(changed) or 'the corpora'} is not what the run in {run.path} began with; "
            "bring it back, or start a new run folder"
        )


def _describe(
    recipe: Recipe,
    run: RunFolder,
    dataset: Dataset,
    model: Model,
    state: TrainerState,
    machine: Machine,
    notes: list[str],
) -> Prepared:
    dimensions = dimensions_of(dataset.vocabularies)
    return Prepared(
        folder=run.path,
        num_parameters=sum(parameter.numel() for parameter in model.parameters()),
        num_train=len(dataset.train),
        num_validation=len(dataset.validation_items),
        source_vocabulary=dimensions.source,
        target_vocabulary=dimensions.target,
        device=str(next(model.parameters()).device),
        precision=state.position.precision,
        threads=machine.threads,
        resumed_step=state.position.step,
        notes=tuple(notes),
        picture=(dimensions.height, dimensions.width) if dimensions.height else None,
    )
