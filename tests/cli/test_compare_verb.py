"""The table of a user's own systems: same data, same tokenizer, everything measured."""

import csv
import io
import json
import signal
import subprocess
import sys

import pytest
import torch

from cli.test_train import hear_interrupts
from regard.checkpoint.run_folder import read_card
from regard.cli.main import run
from regard.evaluation.metrics import bleu
from regard.pipelines import fit as fit_module
from regard.pipelines.compare import candidate_run, common_tests, measure, open_run, stages
from regard.pipelines.fit import fit
from regard.pipelines.translate import load
from regard.recipe import Recipe
from regard.training.numerics import Machine


@pytest.fixture(autouse=True)
def _leave_this_process_as_it_is(monkeypatch):
    monkeypatch.setattr(fit_module, "set_up_machine", lambda threads: Machine(threads or 1, "highest", False, True))


@pytest.fixture
def make_run(toy_recipe, tmp_path):
    def make(name, *settings):
        recipe = Recipe.read(toy_recipe, ["data.test=[validation]", *settings])
        for _ in fit(recipe, tmp_path / name):
            pass
        return tmp_path / name

    return make


@pytest.fixture
def runs(make_run):
    recurrent = ("model={kind: seq2seq, embedding_size: 8, encoder_size: 8, decoder_size: 8}",)
    return make_run("attentive"), make_run("recurrent", *recurrent)


def test_every_system_and_the_ensemble_are_measured(runs, capsys, tmp_path):
    assert run(["compare", *map(str, runs), "--ensemble", "attentive,recurrent", "--csv"]) == 0
    header, *rows = csv.reader(io.StringIO(capsys.readouterr().out))
    assert header == ["system", "parameters", "FLOPs", "minutes", "MB", "validation", "sentences/s"]
    assert [row[0] for row in rows] == ["attentive", "recurrent", "ensemble of 2: attentive, recurrent"]
    assert all(float(row[4]) > 50 and float(row[6]) > 0 for row in rows)
    assert float(rows[2][2]) == pytest.approx(float(rows[0][2]) + float(rows[1][2]), rel=0.1)


def test_what_is_in_the_table_is_what_the_model_says(runs):
    opened = [open_run(folder) for folder in runs]
    tests = common_tests([candidate_run(folder) for folder in runs])
    (items,) = tests.values()
    measured = measure("both", opened, tests)
    outputs = [found.text for found in load(*runs).translate([item.source for item in items])]
    expected = bleu(outputs, [item.references for item in items])
    assert measured.bleu["validation"].value == pytest.approx(expected.value)
    assert measured.num_updates == 24
    models = [load(folder).loaded[0].model for folder in runs]
    assert measured.num_parameters == sum(p.numel() for model in models for p in model.parameters())
    assert measured.flops == sum(read_card(folder)["finished"]["flops"] for folder in runs) > 0
    assert torch.isfinite(torch.tensor(measured.seconds))
    assert measured.seconds > 0


def test_a_recipe_is_trained_first_and_then_taken_as_it_is(toy_recipe, tmp_path, capfd):
    words = ["compare", str(toy_recipe), "data.test=[validation]", "-o", str(tmp_path / "runs"), "--json"]
    assert run([*words, "--plot", str(tmp_path / "bleu.svg")]) == 0
    first, told = capfd.readouterr()
    assert json.loads(first)["system"] == "toy"
    assert "regard train" in told
    assert "operations of training, counted" in (tmp_path / "bleu.svg").read_text()
    before = (tmp_path / "runs" / "toy" / "model" / "model.safetensors").stat().st_mtime_ns
    assert run(words) == 0
    assert (tmp_path / "runs" / "toy" / "model" / "model.safetensors").stat().st_mtime_ns == before


def test_a_wrong_ensemble_is_told_before_anything_is_trained(toy_recipe, tmp_path, capsys):
    words = [str(toy_recipe), "data.test=[validation]", "-o", str(tmp_path / "runs"), "--ensemble", "toy,typo"]
    assert run(["compare", *words]) == 2
    assert "--ensemble toy,typo: there is no system typo; there are toy" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


LABELS = "source_tokenizer: {kind: words}\n  target_tokenizer: {kind: labels}"


@pytest.mark.parametrize(
    ("second", "words", "code", "message"),
    [
        ({"steps: 12": "stpes: 12"}, [], 2, "stpes"),
        ({}, ["data.test=[empty]"], 3, "the test set is empty"),
        ({}, ["data.test=[torn]"], 3, "torn.source has 2 lines"),
        ({}, ["data.test=[]"], 2, "the recipes share no test set"),
        ({"[train]": "[validation]"}, [], 2, "a comparison needs the same data"),
        ({"kind: symbols": "kind: characters"}, [], 2, "cut text into other pieces"),
        ({"tokenizer: {kind: symbols}": LABELS}, [], 2, "second.yaml does not learn texts from texts"),
        ({}, ["data.train=[nothing]"], 3, "nothing is neither a file nor the prefix"),
    ],
)
def test_what_would_only_be_told_after_training_is_told_before(
    toy_recipe, tmp_path, capsys, second, words, code, message
):
    text = toy_recipe.read_text()
    for old, new in second.items():
        assert old in text
        text = text.replace(old, new)
    other = toy_recipe.with_name("second.yaml")
    other.write_text(text)
    for name, lines in (("empty", 0), ("torn", 2)):
        (toy_recipe.parent / f"{name}.source").write_text("a b\n" * lines)
        (toy_recipe.parent / f"{name}.target").write_text("b a\n" * (lines // 2))
    settings = words if any(word.startswith("data.test") for word in words) else ["data.test=[validation]", *words]
    assert run(["compare", str(toy_recipe), str(other), *settings, "-o", str(tmp_path / "runs")]) == code
    assert message in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_a_training_that_was_killed_is_one_that_failed(toy_recipe, tmp_path, capfd, monkeypatch):
    started = subprocess.Popen
    monkeypatch.setattr(
        "regard.cli.compare.subprocess.Popen", lambda words, **options: started(["sh", "-c", "kill -9 $$"], **options)
    )
    assert run(["compare", str(toy_recipe), "data.test=[validation]", "-o", str(tmp_path / "runs")]) == 1
    assert "was not trained" in capfd.readouterr().err


def test_a_training_that_fails_ends_the_comparison_with_its_code(toy_recipe, tmp_path, capfd):
    words = ["compare", str(toy_recipe), "data.test=[validation]", "training.start_from=nowhere"]
    assert run([*words, "-o", str(tmp_path / "runs")]) == 4
    assert "was not trained" in capfd.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="signals are those of POSIX")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_comparison_that_is_told_to_leave_lets_its_training_save(toy_recipe, tmp_path, number, code):
    words = [str(toy_recipe), "data.test=[validation]", "training.steps=100000", "-o", str(tmp_path / "runs")]
    command = [sys.executable, "-m", "regard", "compare", *words]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=hear_interrupts) as process:
        for line in process.stderr:
            if line.startswith("step "):
                break
        process.send_signal(number)  # to this process alone, as a batch system does
        assert "the same command goes on from there" in process.stderr.read()
        assert process.wait() == code


def test_another_tokenizer_is_another_comparison(make_run, capsys):
    one = make_run("one")
    other = make_run("other", "data.tokenizer={kind: characters}")
    assert run(["compare", str(one), str(other)]) == 2
    assert "cut text into other pieces" in capsys.readouterr().err


def test_a_recipe_that_was_trained_on_what_its_corpus_was_is_not_compared_with_one_of_today(
    toy_recipe, tmp_path, capfd
):
    words = ["data.test=[validation]", "-o", str(tmp_path / "runs")]
    assert run(["compare", str(toy_recipe), *words]) == 0
    other = toy_recipe.with_name("second.yaml")
    other.write_text(toy_recipe.read_text())
    for side in ("source", "target"):
        corpus = toy_recipe.parent / f"train.{side}"
        corpus.write_text("".join(corpus.read_text().splitlines(keepends=True)[:-1]))
    capfd.readouterr()
    assert run(["compare", str(toy_recipe), str(other), *words]) == 2
    assert "a comparison needs the same data" in capfd.readouterr().err


def test_a_student_is_compared_with_a_model_that_had_no_teacher(make_run, capsys):
    alone = make_run("alone")
    taught = make_run("taught", f"training.teacher={{folders: [{alone / 'model'}]}}")
    assert run(["compare", str(alone), str(taught), "--csv"]) == 0
    assert capsys.readouterr().out.count("\n") == 3


def test_the_tokenizer_of_the_model_that_a_run_began_with_counts(make_run, capsys):
    letters = "data.tokenizer={kind: characters}"
    one, first = make_run("one"), make_run("first", letters)
    second = make_run("second", letters, f"training.start_from={first / 'model'}")
    assert run(["compare", str(one), str(second)]) == 2
    assert "cut text into other pieces" in capsys.readouterr().err
    assert run(["compare", str(first), str(second)]) == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "name what to compare"),
        (["--published", "--plot", "table.txt"], "ends in .svg, .png or .pdf"),
        (["--published", "runs/small"], "name no systems beside it"),
        (["--published", "--csv", "--json"], "take one"),
        (["nowhere"], "is no run folder"),
        (["nowhere", "model.size=3"], "have no effect on runs"),
        (["a/run", "b/run"], "two systems are called run"),
    ],
)
def test_mistakes_are_one_sentence(words, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(["compare", *words]) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1


def test_a_second_stage_costs_what_both_stages_cost(toy_recipe, tmp_path):
    for name, facts, start in (
        ("first", {"step": 10, "flops": 5}, None),
        ("second", {"step": 3, "flops": 2}, tmp_path / "first" / "model"),
        ("third", {"step": 1, "flops": 1}, tmp_path / "nowhere" / "model"),
    ):
        (tmp_path / name).mkdir()
        settings = [] if start is None else [f"training.start_from={start}"]
        (tmp_path / name / "recipe.yaml").write_text(Recipe.read(toy_recipe, settings).text())
        (tmp_path / name / "card.json").write_text(json.dumps({"finished": facts}))
    assert [facts["flops"] for facts in stages(open_run(tmp_path / "second"))] == [5, 2]
    assert [facts["flops"] for facts in stages(open_run(tmp_path / "third"))] == [1]
