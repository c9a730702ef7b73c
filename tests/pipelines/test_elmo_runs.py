"""From text to ELMo to a tagger, through the very pipeline of every other model; what does not fit is refused."""

import random

import pytest
import torch
from test_fit import StopAfter, logged, run, weights
from test_start import _leave_this_process_as_it_is  # noqa: F401

from regard.checkpoint.model_folder import load_model
from regard.errors import UsageError
from regard.pipelines.classify import Classifier
from regard.pipelines.events import Published
from regard.pipelines.translate import Translator
from regard.recipe import Recipe

SHAPE = "size: 8, cell_size: 12, filters: [{width: 2, number: 8}], dropout: 0.1"
TRAINING = """
training:
  steps: 6
  threads: 1
  precision: fp32
  batch_tokens: 400
  label_smoothing: 0.0
  schedule: {kind: constant, learning_rate: 0.01}
  evaluate_every: {steps: 3}
"""
ELMO = f"""
data:
  {{train: [text], hold_out: 0.2, source: en, target: en, format: moses, cache: cache,
   source_tokenizer: {{kind: bytes}}, target_tokenizer: {{kind: words}}}}
model: {{kind: elmo, {SHAPE}}}
{TRAINING}
"""
TAGGER = f"""
data:
  {{train: [tagged.conll], hold_out: 0.2, cache: cache,
   source_tokenizer: {{kind: bytes}}, target_tokenizer: {{kind: tags}}}}
model: {{kind: tagger, size: 8, word_size: 4, elmo: {{{SHAPE}}}}}
{TRAINING}
  metric: f1
"""


@pytest.fixture
def recipes(tmp_path):
    words = random.Random(3)
    sentences = [[words.choice(["a", "cat", "Dog", "ran"]) for _ in range(words.randint(1, 6))] for _ in range(50)]
    (tmp_path / "text.en").write_text("".join(" ".join(sentence) + "\n" for sentence in sentences))
    rows = ["".join(f"{word} {'B-N' if word.istitle() else 'O'}\n" for word in sentence) for sentence in sentences]
    (tmp_path / "tagged.conll").write_text("\n".join(rows))
    for name, text in (("elmo", ELMO), ("tagger", TAGGER)):
        (tmp_path / f"{name}.yaml").write_text(text)
    return tmp_path


def read(recipes, name, *settings):
    return Recipe.read(recipes / f"{name}.yaml", settings)


def test_elmo_is_trained_and_gives_a_tagger_its_vectors(recipes, tmp_path):
    recipe = read(recipes, "elmo", "training.save_every={steps: 1}")
    assert isinstance(run(recipe, tmp_path / "elmo")[-1], Published)
    run(recipe, tmp_path / "parts", should_stop=StopAfter(3))
    run(recipe, tmp_path / "parts")
    assert logged(tmp_path / "parts") == logged(tmp_path / "elmo")
    elmo = weights(tmp_path / "elmo" / "model")
    tagger = read(recipes, "tagger", f"training.start_from={tmp_path / 'elmo'}")
    published = run(tagger, tmp_path / "tagger")[-1]
    assert published.metric == "f1"
    ours = weights(published.folder)
    readers = [name for name in ours if name.startswith("reader.")]
    assert readers
    assert all(torch.equal(ours[name], elmo[name]) for name in readers)
    assert load_model(published.folder).vocabularies.target.kind == "tags"
    with pytest.raises(UsageError, match="generates no text; its vectors are for a model that begins with it"):
        Translator([load_model(tmp_path / "elmo")])
    with pytest.raises(UsageError, match="this model gives no label"):
        Classifier([load_model(tmp_path / "elmo")])
    (found,) = Classifier([load_model(published.folder)]).classify(["a Dog ran"])
    assert len(found.label.split()) == 3


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        (
            "elmo",
            ["data.source_tokenizer={kind: characters}"],
            r"kind elmo needs data.source_tokenizer: \{kind: bytes\}",
        ),
        ("elmo", ["data.target_tokenizer={kind: characters}"], r"needs data.target_tokenizer: \{kind: words\}"),
        ("elmo", ["training.metric=bleu"], "gives for a target of kind words; take loss or perplexity"),
        ("tagger", ["data.target_tokenizer={kind: labels}"], r"needs data.target_tokenizer: \{kind: tags\}"),
    ],
)
def test_what_does_not_fit_is_refused(recipes, tmp_path, name, settings, message):
    with pytest.raises(UsageError, match=message):
        run(read(recipes, name, *settings), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["model.elmo=null"], "has no `reader` that could be filled"),
        (["model.elmo.size=10"], "holds another model than the recipe describes"),
    ],
)
def test_a_tagger_with_another_elmo_cannot_begin_with_this_one(recipes, tmp_path, settings, message):
    run(read(recipes, "elmo", "training.steps=1"), tmp_path / "elmo")
    with pytest.raises(UsageError, match=message):
        run(read(recipes, "tagger", f"training.start_from={tmp_path / 'elmo'}", *settings), tmp_path / "tagger")


def test_a_kind_without_a_common_part_cannot_begin_with_elmo(recipes, tmp_path):
    run(read(recipes, "elmo", "training.steps=1"), tmp_path / "elmo")
    classifier = [
        "model={kind: text_classifier, size: 8, embedding_size: 8}",
        "data.target_tokenizer={kind: labels}",
        "training.metric=accuracy",
    ]
    with pytest.raises(UsageError, match="no part of it with which one of kind text_classifier can begin"):
        run(read(recipes, "tagger", f"training.start_from={tmp_path / 'elmo'}", *classifier), tmp_path / "run")
