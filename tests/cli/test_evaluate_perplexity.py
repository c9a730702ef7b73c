"""`regard evaluate --metric perplexity`: of the references, read with the turns that the model learnt from."""

import json
import math
from itertools import pairwise

import pytest
import torch
from torch.nn import functional

import regard
from regard.checkpoint.card import Card
from regard.checkpoint.model_folder import save_model
from regard.cli import main
from regard.data.batching import pad
from regard.data.corpus import open_corpus
from regard.protocol import Batch
from regard.symbols import BOS, EOS, PAD
from tiny_folder import save_tiny

TURNS = ["the cat sees the dog", "a small house", "the dogs play in the snow", "the cat"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model that learnt, it says, from conversations with three turns of history."""
    home = tmp_path_factory.mktemp("models")
    loaded = regard.load(save_tiny(home / "tiny")).loaded[0]
    parts = {"config": loaded.config, "vocabularies": loaded.vocabularies, "search": loaded.search}
    save_model(home / "three", loaded.model, **parts, card=Card(history=3))
    return home / "three"


@pytest.fixture
def evaluate(folder, capsys):
    """Exit code, metrics by name and messages."""

    def run(*words):
        code = main.run(["evaluate", *map(str, words), "--json"])
        out, told = capsys.readouterr()
        return code, {each["name"]: each for each in json.loads(out)["metrics"]} if out else {}, told

    return run


def by_hand(folder, pairs):
    """exp of the mean negative log-likelihood of all pieces and ends, from one forward pass and torch's own loss."""
    translator = regard.load(folder)
    ids = [(translator.encode_source(source), translator.encode_target(target)) for source, target in pairs]
    batch = Batch(pad([source for source, _ in ids]), pad([[BOS, *target, EOS] for _, target in ids]))
    with torch.no_grad():
        logits = translator.loaded[0].model.eval()(batch).logits
    return math.exp(functional.cross_entropy(logits.flatten(0, 1), batch.labels.flatten(), ignore_index=PAD))


def test_it_is_that_of_every_piece_and_end(folder, evaluate, tmp_path):
    pairs = list(pairwise(TURNS))
    (tmp_path / "test.tsv").write_text("".join(f"{source}\t{target}\n" for source, target in pairs))
    code, found, _ = evaluate(
        "-m", folder, tmp_path / "test.tsv", "--metric", "perplexity", "--at-most", "perplexity=1e9"
    )
    assert code == 0
    assert found["perplexity"]["value"] == pytest.approx(by_hand(folder, pairs), rel=1e-5)
    assert not found["perplexity"]["higher_is_better"]
    assert list(evaluate("-m", folder, tmp_path / "test.tsv", "--metric", "bleu,perplexity")[1]) == [
        "bleu",
        "perplexity",
    ]


def test_nothing_is_searched_for_it_alone(folder, evaluate, tmp_path, monkeypatch):
    monkeypatch.setattr("regard.pipelines.translate.Translator.translate", lambda *_, **__: pytest.fail("a search"))
    (tmp_path / "test.tsv").write_text("the cat\ta small house\n")
    assert evaluate("-m", folder, tmp_path / "test.tsv", "--metric", "perplexity")[0] == 0


def test_conversations_are_read_with_the_turns_that_the_model_learnt_from(folder, evaluate, tmp_path):
    rows = "".join(f"one\t{number}\t{turn}\n" for number, turn in enumerate(TURNS))
    (tmp_path / "talk.tsv").write_text("conversation\tturn\ttext\n" + rows)
    value = evaluate("-m", folder, tmp_path / "talk.tsv", "--metric", "perplexity")[1]["perplexity"]["value"]
    with_history, without = (
        by_hand(folder, list(open_corpus(tmp_path / "talk.tsv", history=history))) for history in (3, 1)
    )
    assert value == pytest.approx(with_history, rel=1e-5)
    assert value != pytest.approx(without, rel=1e-3)


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["--hypotheses", "said.txt"], "perplexity is of a model that says texts"),
        (["--baseline", "said.txt"], "no paired test for the metric perplexity"),
        (["--beam-size", "3"], "--beam-size has no effect on perplexity"),
    ],
)
def test_what_cannot_be_with_perplexity_is_told(folder, evaluate, tmp_path, monkeypatch, words, what):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "test.tsv").write_text("the cat\ta small house\n")
    (tmp_path / "said.txt").write_text("a small house\n")
    model = [] if "--hypotheses" in words else ["-m", folder]
    code, _, told = evaluate(*model, "test.tsv", *words, "--metric", "perplexity")
    assert code == 2
    assert what in told
