"""From labelled sentences to a trained model, and to labels on standard output."""

import io
import json
import random
import sys

import pytest

import regard
from regard.cli import main
from tiny_folder import save_tiny

RECIPE = """\
data:
  format: {format}
  train: [train.txt]
  hold_out: 0.2
  source_tokenizer: {{kind: words}}
  target_tokenizer: {{kind: labels, until: ":"}}
  cache: cache
model: {{kind: text_classifier, preset: attention, embedding_size: 16, size: 16, dropout: 0.1}}
training:
  epochs: 12
  threads: 1
  precision: fp32
  batch_tokens: 128
  label_smoothing: 0
  schedule: {{kind: constant, learning_rate: 0.02}}
  evaluate_every: {{epochs: 6}}
  metric: accuracy
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A model that calls a sentence HOT if it holds `sun`, else COLD; its folder."""
    folder = tmp_path_factory.mktemp("weather")
    generator = random.Random(2)
    lines = []
    for number in range(160):
        words = generator.choices("abcdefgh", k=generator.randint(2, 7))
        words.insert(generator.randint(0, len(words)), "sun" if number % 2 else "ice")
        lines.append(f"{'HOT:x' if number % 2 else 'COLD:y'} {' '.join(words)}\n")
    (folder / "train.txt").write_text("".join(lines))
    (folder / "recipe.yaml").write_text(RECIPE.format(format="labelled"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main.run(["train", str(folder / "recipe.yaml"), "-o", str(folder / "run"), "--quiet"]) == 0
    return folder


@pytest.fixture
def run(trained, capsys, monkeypatch):
    def run_verb(verb, *options, stdin=b""):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        code = main.run([verb, "-m", str(trained / "run"), *map(str, options)])
        done = capsys.readouterr()
        return code, done.out.split("\n")[:-1], done.err

    return run_verb


def test_a_line_in_is_a_label_and_its_probability_out(run):
    code, lines, _ = run("classify", stdin=b"a sun b\n\nice c d e f\n")
    assert code == 0
    assert [line.partition("\t")[0] for line in lines] == ["HOT", "", "COLD"]
    assert all(0.5 < float(line.split("\t")[1]) <= 1 for line in lines if line)
    assert run("classify", "a sun b")[1] == lines[:1]


def test_n_best_are_all_labels_and_their_probabilities_sum_to_one(run):
    label, first, other, second = run("classify", "--n-best", 5, "a sun b")[1][0].split("\t")
    assert (label, other) == ("HOT", "COLD")
    assert float(first) + float(second) == pytest.approx(1, abs=2e-4)


def test_attention_falls_on_the_word_that_matters(run):
    (line,) = run("classify", "--attention", "a b c sun d e")[1]
    looked = dict(part.rpartition(":")[::2] for part in line.split("\t")[2].split())
    assert max(looked, key=lambda piece: float(looked[piece])) == "sun"
    (line,) = run("classify", "--json", "--attention", "a b c sun d e")[1]
    values = json.loads(line)
    assert sum(values["attention"]["pool"]) == pytest.approx(1)
    assert len(values["attention"]["pool"]) == len(values["source_tokens"]) + 1
    assert (values["label"], list(values["probabilities"][0])) == ("HOT", ["HOT"])


def test_a_text_too_long_is_left_empty_with_a_notice(run):
    code, lines, messages = run("classify", "a " * 2000, "ice")
    assert (code, lines[0], lines[1][:4]) == (0, "", "COLD")
    assert "line 1: not read: its 2,001 pieces" in messages


def test_evaluation_knows_the_labels_as_the_model_does(run, trained):
    test = trained / "train.txt"
    code, lines, _ = run("evaluate", test, "--format", "labelled", "--json", "--at-least", "accuracy=95")
    assert code == 0
    (metric,) = json.loads(lines[0])["metrics"]
    assert (metric["name"], metric["value"]) == ("accuracy", 100)
    (trained / "other.txt").write_text("HOT a sun\nWARM ice\n")
    assert run("evaluate", trained / "other.txt", "--format", "labelled", "--at-least", "accuracy=95")[0] == 6
    assert run("evaluate", test, "--format", "labelled", "-b", "2")[0] == 2


def test_the_other_verb_is_named_where_a_model_does_not_suit(run, tmp_path, trained):
    code, _, message = run("translate", "x")
    assert (code, "use `regard classify`" in message) == (2, True)
    other = save_tiny(tmp_path / "tiny")
    assert main.run(["classify", "-m", str(other), "x"]) == 2
    recipe = str(trained / "recipe.yaml")
    for setting in ("model={kind: seq2seq}", "data.target_tokenizer={kind: words}"):
        assert main.run(["train", recipe, setting, "-o", str(tmp_path / "run")]) == 2


def test_an_ensemble_of_one_model_twice_says_the_same(trained):
    one = regard.Classifier.load(trained / "run").classify("a sun")[0]
    two = regard.Classifier.load(trained / "run", trained / "run").classify("a sun")[0]
    assert one.label == two.label
    assert one.probability == pytest.approx(two.probability)
    assert set(one.attention) == {"pool"}


def test_a_run_repeats_and_finds_itself_finished(trained, monkeypatch, capsys):
    monkeypatch.chdir(trained)
    assert main.run(["train", str(trained / "recipe.yaml"), "-o", str(trained / "run")]) == 0
    assert "is finished" in capsys.readouterr().err
