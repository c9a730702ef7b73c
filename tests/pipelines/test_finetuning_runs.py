"""From a language model to a classifier that begins with it, through the command line and whole runs."""

import io
import random
import sys
from pathlib import Path

import pytest
import torch

import regard
from checks.runs import logged
from regard.checkpoint.model_folder import load_model
from regard.cli import main
from regard.pipelines.fit import fit
from regard.pipelines.trace import trace_sentence
from regard.recipe import Recipe

LANGUAGE_MODEL = """\
data:
  format: text
  train: [text.txt]
  hold_out: 0.2
  tokenizer: {kind: words, lowercase: true}
  cache: cache
model: {kind: language_model, embedding_size: 8, size: 12}
training:
  epochs: 2
  threads: 1
  precision: fp32
  batch_tokens: 64
  label_smoothing: 0
  schedule: {kind: constant, learning_rate: 0.01}
  metric: perplexity
search: {sampling: true, max_length: 12}
"""
CLASSIFIER = """\
data:
  format: labelled
  train: [labelled.txt]
  hold_out: 0.2
  source_tokenizer: {kind: words}
  target_tokenizer: {kind: labels}
  cache: cache
model: {kind: ulmfit, embedding_size: 8, size: 12, hidden_size: 6}
training:
  epochs: 3
  threads: 1
  precision: fp32
  batch_tokens: 64
  label_smoothing: 0
  finetuning: {unfreeze: gradual}
  schedule: {kind: slanted, learning_rate: 0.01}
  metric: accuracy
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A language model's finished run, and the recipe of a classifier."""
    folder = tmp_path_factory.mktemp("ulmfit")
    letters = random.Random(3)
    lines = [" ".join(letters.choices("abcdefgh", k=letters.randint(2, 8))) for _ in range(60)]
    (folder / "text.txt").write_text("".join(f"{line}\n" for line in lines))
    (folder / "labelled.txt").write_text(
        "".join(f"{'YES' if 'a' in line else 'NO'} {line.upper()}\n" for line in lines)
    )
    (folder / "lm.yaml").write_text(LANGUAGE_MODEL)
    (folder / "classifier.yaml").write_text(CLASSIFIER)
    assert main.run(["pretrain", str(folder / "lm.yaml"), "-o", str(folder / "lm"), "--quiet"]) == 0
    return folder


def finetune(folder: Path, name: str, *settings: str) -> int:
    words = ["finetune", str(folder / "classifier.yaml"), "-m", str(folder / "lm"), *settings]
    return main.run([*words, "-o", str(folder / name), "--quiet"])


def reader(path: Path) -> dict[str, torch.Tensor]:
    return dict(load_model(path).model.reader.state_dict())


def test_a_language_model_goes_on_from_a_text_and_says_how_probable_texts_are(folder, capsys, monkeypatch):
    model = str(folder / "lm")
    assert main.run(["translate", "-m", model, "--beam-size", "1", "a B c", "", "h"]) == 0
    first, blank, last = capsys.readouterr().out.split("\n")[:-1]
    assert first.startswith("a b c")
    assert last.startswith("h")
    assert blank
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a b c\nh\n")))
    assert main.run(["score", "-m", model]) == 0
    done = capsys.readouterr()
    assert [float(line.split("\t")[0]) < 0 for line in done.out.splitlines()] == [True, True]
    assert "perplexity" in done.err
    streamed = "".join(regard.load(folder / "lm").stream("a b", beam_size=1))
    assert streamed.startswith("a b")
    translator = regard.load(folder / "lm")
    assert trace_sentence(translator, "b c", prefix="a").prefix == list(translator.request("b c", prefix="a").prefix)
    assert trace_sentence(translator, "a B c", prefix=[]).prefix == translator.vocabularies.target.encode("a b c")


def test_a_language_model_goes_on_with_other_texts_its_parts_at_rates_of_their_own(folder):
    settings = ["training.finetuning={decay: 2.6, unfreeze: all}", "training.schedule={kind: slanted}"]
    words = ["train", str(folder / "lm.yaml"), *settings, f"training.start_from={folder / 'lm'}", "--quiet"]
    assert main.run([*words, "-o", str(folder / "second")]) == 0
    before, after = reader(folder / "lm"), reader(folder / "second")
    assert all(not torch.equal(before[name], after[name]) for name in before)
    losses = [[each["loss"] for each in logged(folder / name) if each["event"] == "step"] for name in ("lm", "second")]
    assert losses[1][0] < losses[0][0]  # it began with what the other one knew


def test_what_is_frozen_is_the_language_model_s_and_so_is_the_tokenizer(folder):
    assert finetune(folder, "last", "training.finetuning.unfreeze=last", "training.epochs=1") == 0
    before, after = reader(folder / "lm"), reader(folder / "last")
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert load_model(folder / "last").vocabularies.source == load_model(folder / "lm").vocabularies.target
    assert regard.Classifier.load(folder / "last").classify("A B C")[0].label in ("YES", "NO")


def test_parts_thaw_epoch_by_epoch_and_a_stopped_run_goes_on_bit_for_bit(folder):
    assert finetune(folder, "whole") == 0
    recipe = Recipe.read(folder / "classifier.yaml", [f"training.start_from={folder / 'lm'}"])
    asked = iter(range(10**6))
    list(fit(recipe, folder / "parts", should_stop=lambda: next(asked) == 9))
    list(fit(recipe, folder / "parts"))
    assert logged(folder / "parts") == logged(folder / "whole")
    one, other = (reader(max((folder / name / "checkpoints").glob("step-*"))) for name in ("parts", "whole"))
    assert all(torch.equal(one[name], other[name]) for name in one)
    before = reader(folder / "lm")
    learnt = {name.split(".")[1] for name in one if not torch.equal(one[name], before[name])}
    assert learnt == {"0", "1"}  # in the third epoch both layers do, and not yet the embedding


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            ["data.source_tokenizer={kind: characters}"],
            "will read them too; set data.source_tokenizer to {kind: words}",
        ),
        (["model.size=13"], "holds another model than the recipe describes"),
        (["model={kind: text_classifier}", "training.finetuning=null"], "no part of it with which"),
        (["training.finetuning=null", "model={kind: seq2seq}"], "set|take"),
    ],
)
def test_what_does_not_suit_is_refused_in_one_sentence(folder, settings, message, capsys):
    assert finetune(folder, "never", *settings) == 2
    assert not (folder / "never").exists()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("regard: error: ")
    assert finetune(folder, "never", *settings, "--dry-run") == 2
    assert capsys.readouterr() == ("", f"{line}\n"), "a dry run says what the real one would"
    if message != "set|take":
        assert message in line


def test_a_dry_run_begins_with_the_tokenizers_that_the_real_one_takes_over(folder, capsys):
    assert finetune(folder, "never", "--dry-run") == 0
    size = load_model(folder / "lm").vocabularies.target.size
    assert f"vocabularies: {size} source, 6 target" in capsys.readouterr().out
    assert not (folder / "never").exists()


@pytest.mark.parametrize("metric", ["bleu", "f1", "wer"])
def test_a_metric_of_something_else_is_refused_and_the_right_ones_are_named(folder, capsys, metric):
    assert finetune(folder, "never", f"training.metric={metric}") == 2
    assert capsys.readouterr().err == (
        f"regard: error: training.metric is {metric}, which does not measure what a model of kind ulmfit gives for a "
        "target of kind labels; take accuracy, loss or perplexity\n"
    )
    assert not (folder / "never").exists()


def test_what_nothing_can_begin_with_is_not_pretrained(folder, capsys):
    assert main.run(["pretrain", str(folder / "classifier.yaml"), "model={kind: text_classifier}"]) == 2
    assert "has no part with which another kind could begin" in capsys.readouterr().err


def test_rates_of_parts_need_a_model_with_parts(folder, capsys):
    words = ["train", str(folder / "classifier.yaml"), "model={kind: text_classifier}", "-o", str(folder / "never")]
    assert main.run(words) == 2
    assert "parts of their own rates" in capsys.readouterr().err
