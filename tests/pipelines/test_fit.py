"""A training run as a whole: what it writes, and that stopping anywhere changes nothing."""

import json
import random
from itertools import islice
from pathlib import Path
from typing import get_args

import pytest
import torch
from safetensors.torch import load_file

from checks.runs import logged
from regard.checkpoint.average import average
from regard.checkpoint.model_folder import load_model
from regard.errors import DataError, LockedError, UsageError, UserError
from regard.pipelines import fit as fit_module
from regard.pipelines.events import AlreadyFinished, Prepared, Published, Sample, Saved, Warned
from regard.pipelines.fit import fit
from regard.pipelines.plan import describe_plan
from regard.pipelines.validation import MEASURED
from regard.recipe import Recipe
from regard.training.config import Metric
from regard.training.events import Evaluated, Finished, Step
from regard.training.numerics import Machine


@pytest.fixture(autouse=True)
def _leave_this_process_as_it_is(monkeypatch):
    monkeypatch.setattr(fit_module, "set_up_machine", lambda threads: Machine(threads or 1, "highest", False, True))
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def read(toy_recipe, *settings):
    return Recipe.read(toy_recipe, settings)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_model(folder).model.state_dict()


def run(recipe, folder, **options):
    return list(fit(recipe, folder, **options))


class StopAfter:
    """Asks to stop at the n-th question."""

    def __init__(self, number):
        self.left = number

    def __call__(self):
        self.left -= 1
        return self.left < 0


@pytest.mark.parametrize("metric", ["accuracy", "f1"])
def test_labels_metrics_do_not_measure_texts(toy_recipe, tmp_path, metric):
    with pytest.raises(UsageError, match=r"kind symbols; take bleu, bleu:none, .*, chrf, wer, .*, loss or perplexity$"):
        run(read(toy_recipe, f"training.metric={metric}"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_every_metric_that_may_decide_is_measured():
    assert set(get_args(Metric)) == set(MEASURED)
    assert all(not measured or measured[0] == name for name, measured in MEASURED.items())


def test_text_that_is_tokenised_already_decides_by_a_bleu_of_its_own(toy_recipe, tmp_path):
    events = run(read(toy_recipe, "training.metric=bleu:none"), tmp_path / "run")
    evaluated = [event for event in events if isinstance(event, Evaluated)]
    best = max(event.scores["bleu:none"] for event in evaluated)
    assert [event.improved for event in evaluated if event.scores["bleu:none"] == best][:1] == [True]
    card = json.loads((tmp_path / "run" / "card.json").read_text())
    assert "tok:none" in json.dumps(card)


def test_two_passes_that_cannot_differ_are_not_compared(toy_recipe, tmp_path):
    recipe = read(toy_recipe, "training.consistency=5", "model.dropout=0")
    for refuse in (lambda: describe_plan(recipe), lambda: run(recipe, tmp_path / "run")):
        with pytest.raises(UsageError, match=r"^training.consistency .* this model drops none; set model.dropout"):
            refuse()
    assert not (tmp_path / "run").exists()


def test_a_run_writes_all_that_it_should(toy_recipe, tmp_path):
    folder = tmp_path / "run"
    events = run(read(toy_recipe), folder, command="regard train toy.yaml")
    assert isinstance(events[0], Prepared)
    assert (events[0].num_train, events[0].num_validation, events[0].resumed_step) == (60, 6, 0)
    assert sum(isinstance(event, Step) for event in events) == 12
    assert [event.step for event in events if isinstance(event, Evaluated)] == [4, 8, 12]
    losses = [event.scores["loss"] for event in events if isinstance(event, Evaluated)]
    assert losses[-1] < 0.9 * losses[0]
    assert [event.step for event in events if isinstance(event, Saved)] == [4, 8, 12]
    assert any(isinstance(event, Sample) for event in events)
    published = events[-1]
    assert isinstance(published, Published)
    assert published.folder == folder / "model"
    assert [len(candidate.steps) for candidate in published.candidates] == [1, 2]
    assert Recipe.read(folder / "recipe.yaml") == read(toy_recipe)
    rows = [line.split("\t") for line in (folder / "validations.tsv").read_text().splitlines()]
    assert rows[0] == ["step", "loss", "perplexity", "per", "wer"]
    assert [row[0] for row in rows[1:]] == ["4", "8", "12"]
    assert len((folder / "hypotheses" / "step-00000012.txt").read_text().splitlines()) == 6
    card = json.loads((folder / "card.json").read_text())
    assert card["command"] == "regard train toy.yaml"
    assert card["seed"] == 1
    assert set(card["data"]) == {"train", "validation"}
    assert set(card["signatures"]) == {"wer", "per"}
    loaded = load_model(published.folder)
    assert loaded.search == read(toy_recipe).search
    assert {metric.name for metric in loaded.card.metrics} == {"loss", "perplexity", "wer", "per"}


def test_a_checkpoint_of_an_evaluation_keeps_its_score(toy_recipe, tmp_path):
    folder = tmp_path / "run"
    run(read(toy_recipe, "training.save_every={steps: 1}", "training.average=3"), folder)
    scored = [path for path in folder.glob("checkpoints/*/state.json") if json.loads(path.read_text())["score"]]
    assert sorted(path.parent.name for path in scored) == ["step-00000004", "step-00000008", "step-00000012"]


def test_a_wrong_name_of_a_test_set_does_not_wait_until_the_model_is_trained(toy_recipe, tmp_path):
    with pytest.raises(DataError, match="tset is neither a file nor the prefix of two files"):
        next(fit(read(toy_recipe, "data.test=[validation, tset]"), tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_the_better_of_best_and_average_is_published(toy_recipe, tmp_path):
    published = run(read(toy_recipe), tmp_path / "run")[-1]
    scores = {candidate.name: candidate.scores["per"] for candidate in published.candidates}
    assert published.score == min(scores.values()) == scores[published.chosen]


def test_an_unfinished_run_is_opened_with_the_moving_average_that_was_evaluated(toy_recipe, tmp_path):
    folder, recipe = tmp_path / "run", read(toy_recipe, "training.average=1", "training.average_decay=0.9")
    end = next(event for event in fit(recipe, folder) if isinstance(event, Saved) and event.step == 8)
    assert end.step == 8
    checkpoint = folder / "checkpoints" / "step-00000008"
    moving = {
        name[8:]: tensor
        for name, tensor in load_file(checkpoint / "state.safetensors").items()
        if name[:8] == "average."
    }
    raw = load_file(checkpoint / "model.safetensors")
    assert all(not torch.equal(moving[name], raw[name]) for name in moving)
    for found in (weights(checkpoint), average([checkpoint])):
        assert all(torch.equal(found[name], tensor) for name, tensor in moving.items())


def test_validation_reads_nothing_of_a_source_that_is_too_long_as_a_translator_does(toy_recipe, tmp_path):
    for side in ("source", "target"):
        path = tmp_path / f"validation.{side}"
        path.write_text(path.read_text() + " ".join("abcdefabcdefabcd") + "\n")
    learned = ("model.positions=learned", "model.max_length=12", "data.max_length=12")
    folder = tmp_path / "run"
    *_, published = run(read(toy_recipe, *learned), folder)
    assert isinstance(published, Published)
    hypotheses = (folder / "hypotheses" / "step-00000012.txt").read_text().splitlines()
    assert len(hypotheses) == 7
    assert hypotheses[-1] == ""


@pytest.mark.parametrize(
    "setting",
    ["training.average=2", "training.accumulate=2", "training.average_decay=0.9", "training.consistency=5"],
)
def test_stopping_anywhere_changes_nothing(toy_recipe, tmp_path, setting):
    settings = [setting] if setting.startswith("training.average=") else [setting, "training.average=1"]
    recipe = read(toy_recipe, *settings, "training.save_every={steps: 3}")
    run(recipe, tmp_path / "whole")
    questions, stops = random.Random(3), 0
    while True:
        events = run(recipe, tmp_path / "parts", should_stop=StopAfter(questions.randint(1, 9)))
        if isinstance(events[-1], Published):
            break
        assert [event.reason for event in events if isinstance(event, Finished)][-1] == "stopped"
        stops += 1
        assert stops < 100
    assert stops > 2
    assert logged(tmp_path / "parts") == logged(tmp_path / "whole")
    ours, theirs = weights(tmp_path / "parts" / "model"), weights(tmp_path / "whole" / "model")
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert (tmp_path / "parts" / "validations.tsv").read_bytes() == (
        tmp_path / "whole" / "validations.tsv"
    ).read_bytes()


def test_a_process_that_dies_without_a_word_changes_nothing(toy_recipe, tmp_path):
    recipe = read(toy_recipe)
    run(recipe, tmp_path / "whole")
    for number in (7, 12):
        generator = fit(recipe, tmp_path / "parts")
        list(islice(generator, number))
        generator.close()
    run(recipe, tmp_path / "parts")
    assert logged(tmp_path / "parts") == logged(tmp_path / "whole")


def test_half_a_line_in_the_log_is_forgotten(toy_recipe, tmp_path):
    recipe = read(toy_recipe)
    run(recipe, tmp_path / "whole")
    run(recipe, tmp_path / "parts", should_stop=StopAfter(6))
    with (tmp_path / "parts" / "log.jsonl").open("a") as file:
        file.write('{"event": "step", "st')
    run(recipe, tmp_path / "parts")
    assert logged(tmp_path / "parts") == logged(tmp_path / "whole")


def test_a_finished_run_says_so_and_more_steps_go_on(toy_recipe, tmp_path):
    folder = tmp_path / "run"
    published = run(read(toy_recipe), folder)[-1]
    (event,) = run(read(toy_recipe), folder)
    assert event == AlreadyFinished(folder, 12, folder / "model", "per", published.score)
    events = run(read(toy_recipe, "training.steps=16"), folder)
    assert events[0].resumed_step == 12
    assert "changed since the run began: training.steps was 12, is 16" in events[0].notes
    assert isinstance(events[-1], Published)


def test_fresh_refuses_a_run_that_is_there(toy_recipe, tmp_path):
    folder = tmp_path / "run"
    run(read(toy_recipe), folder, should_stop=StopAfter(2))
    with pytest.raises(UsageError) as caught:
        run(read(toy_recipe), folder, fresh=True)
    assert str(caught.value) == (f"{folder} holds a run already; remove it, or name another folder with --output")


def test_another_model_cannot_go_on_with_a_run(toy_recipe, tmp_path):
    run(read(toy_recipe), tmp_path / "run", should_stop=StopAfter(2))
    with pytest.raises(UsageError, match=r"model\.size"):
        run(read(toy_recipe, "model.size=32"), tmp_path / "run")


def test_changed_data_cannot_go_on_with_a_run(toy_recipe, tmp_path):
    run(read(toy_recipe), tmp_path / "run", should_stop=StopAfter(2))
    for side in ("source", "target"):
        with (tmp_path / f"train.{side}").open("a") as file:
            file.write("a b\n")
    with pytest.raises(DataError) as caught:
        run(read(toy_recipe), tmp_path / "run")
    assert str(caught.value) == (
        f"the content of train is not what the run in {tmp_path / 'run'} began with; "
        "bring it back, or start a new run folder"
    )


def test_a_run_that_cannot_begin_leaves_nothing(toy_recipe, tmp_path):
    (tmp_path / "train.target").unlink()
    with pytest.raises(DataError):
        run(read(toy_recipe), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_second_process_is_refused_and_the_first_goes_on(toy_recipe, tmp_path):
    first = fit(read(toy_recipe), tmp_path / "run")
    next(first)
    with pytest.raises(LockedError):
        run(read(toy_recipe), tmp_path / "run")
    assert isinstance(list(first)[-1], Published)


def test_failed_saves_are_told_before_the_run_gives_up(toy_recipe, tmp_path, monkeypatch):
    generator = fit(read(toy_recipe), tmp_path / "run")
    next(generator)

    def fail(*arguments, **options):
        raise UserError("not written")

    monkeypatch.setattr("regard.checkpoint.run_folder.RunFolder.publish", fail)
    told = []

    def collect():
        for event in generator:
            if isinstance(event, Warned | Evaluated | Saved):
                told.append(type(event).__name__)

    with pytest.raises(UserError, match="not written"):
        collect()
    assert told == ["Evaluated", "Warned", "Evaluated", "Warned", "Evaluated"]


def test_a_log_that_cannot_be_written_is_one_warning(toy_recipe, tmp_path, monkeypatch):
    def fail(*arguments, **options):
        raise UserError("log.jsonl: cannot be written: No space left on device")

    monkeypatch.setattr("regard.checkpoint.run_folder.RunFolder.log", fail)
    events = run(read(toy_recipe), tmp_path / "run")
    assert [event.message for event in events if isinstance(event, Warned)] == [
        "log.jsonl: cannot be written: No space left on device; training goes on without"
    ]
    assert isinstance(events[-1], Published)


@pytest.mark.parametrize(
    "model",
    [
        "{kind: bytenet, size: 8, max_dilation: 2}",
        "{kind: seq2seq, embedding_size: 8, encoder_size: 8, decoder_size: 8}",
        "{kind: transformer, size: 16}",
        "{kind: convs2s, encoder: [{layers: 1, size: 8, width: 3}], decoder: [{layers: 1, size: 8, width: 3}]}",
    ],
)
def test_every_kind_of_model_is_trained_by_loss(toy_recipe, tmp_path, model):
    recipe = read(toy_recipe, f"model={model}", "training.metric=loss", "training.steps=2", "training.consistency=5")
    events = run(recipe, tmp_path / "run")
    assert isinstance(events[-1], Published)
    assert set(events[-1].candidates[0].scores) == {"loss", "perplexity"}


def test_what_fits_is_found_once_and_stays(toy_recipe, tmp_path):
    recipe = read(toy_recipe, "training.batch_tokens=auto")
    run(recipe, tmp_path / "run", should_stop=StopAfter(1))
    assert Recipe.read(tmp_path / "run" / "recipe.yaml").training.batch_tokens == 4096
    text = (tmp_path / "run" / "recipe.yaml").read_text()
    (tmp_path / "run" / "recipe.yaml").write_text(text.replace("batch_tokens: 4096", "batch_tokens: 200"))
    events = run(recipe, tmp_path / "run")
    assert not [note for note in events[0].notes if "changed" in note]
    assert Recipe.read(tmp_path / "run" / "recipe.yaml").training.batch_tokens == 200
