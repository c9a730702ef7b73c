"""The caption metrics against the reference scorer's own figures, against definitions, and against planted bugs."""

import gzip
import json
import math
from functools import cache
from pathlib import Path

import pytest

from regard.evaluation import caption_bleu as bleu_module
from regard.evaluation import cider as cider_module
from regard.evaluation import rouge as rouge_module
from regard.evaluation.caption_bleu import caption_bleu
from regard.evaluation.caption_tokens import caption_tokens
from regard.evaluation.cider import cider, cider_d
from regard.evaluation.meteor_like import meteor_like
from regard.evaluation.metrics import evaluate
from regard.evaluation.rouge import rouge_l
from regard.evaluation.significance import paired_bootstrap

FIXTURES = ["flickr8k-test-leave-one-out", "flickr8k-test-mismatched", "coco-val2017-1000-leave-one-out"]


@cache
def read(folder: Path, name: str) -> dict:
    with gzip.open(folder / "caption-scorer-fixtures" / f"{name}.json.gz", "rt", encoding="utf-8") as file:
        return json.load(file)


def tokenised(fixture: dict, most: int = 1000) -> tuple[list, list]:
    items = fixture["items"][:most]
    hypotheses = [caption_tokens(item["hypothesis"]) for item in items]
    return hypotheses, [[caption_tokens(text) for text in item["references"]] for item in items]


@pytest.mark.parametrize("name", FIXTURES)
def test_every_caption_has_the_reference_scorers_words(data_root, name):
    for item in read(data_root, name)["items"]:
        texts = [item["hypothesis"], *item["references"]]
        expected = [item["hypothesis_tokenized"], *item["references_tokenized"]]
        assert [" ".join(caption_tokens(text)) for text in texts] == expected


@pytest.mark.parametrize("name", FIXTURES[1:2])
def test_corpus_and_items_equal_the_reference_scorer(data_root, name):
    fixture = read(data_root, name)
    hypotheses, references = tokenised(fixture)
    scores = [item["scores"] for item in fixture["items"]]
    for order, value in enumerate(caption_bleu(hypotheses, references), 1):
        assert value == pytest.approx(fixture["corpus"][f"Bleu_{order}"], rel=1e-6)
    values = cider_d(hypotheses, references)
    assert sum(values) / len(values) == pytest.approx(fixture["corpus"]["CIDEr"], rel=1e-6)
    assert values == pytest.approx([score["CIDEr"] for score in scores], rel=1e-6, abs=1e-9)
    assert list(map(rouge_l, hypotheses, references)) == pytest.approx([s["ROUGE_L"] for s in scores], rel=1e-6)
    for hypothesis, accepted, score in list(zip(hypotheses, references, scores, strict=True))[:50]:
        expected = [score[f"Bleu_{order}"] for order in (1, 2, 3, 4)]
        assert caption_bleu([hypothesis], [accepted]) == pytest.approx(expected, rel=1e-6)


def test_regard_evaluate_gives_them_in_percent_with_a_signature(data_root):
    fixture = read(data_root, FIXTURES[0])
    texts = [item["hypothesis"] for item in fixture["items"]]
    references = [tuple(item["references"]) for item in fixture["items"]]
    names = ["bleu-4", "cider-d"]
    found = {metric.name: metric for metric in evaluate(names, texts, references)}
    for name, theirs in zip(names, ["Bleu_4", "CIDEr"], strict=True):
        assert found[name].value == pytest.approx(100 * fixture["corpus"][theirs], rel=1e-6)
        assert "tok:ptb" in found[name].signature
        assert found[name].higher_is_better


@pytest.mark.parametrize(
    ("module", "name", "wrong"),
    [
        (cider_module, "_SIGMA", 5.0),
        (cider_module, "LONGEST", 3),
        (rouge_module, "_BETA", 1.0),
        (bleu_module, "_nearest_length", lambda _, accepted: max(map(len, accepted))),
    ],
)
def test_a_wrong_constant_is_seen(data_root, monkeypatch, module, name, wrong):
    hypotheses, references = tokenised(read(data_root, FIXTURES[0]), 50)

    def measured() -> list:
        values = map(rouge_l, hypotheses, references)
        return [*caption_bleu(hypotheses, references), *cider_d(hypotheses, references), *values]

    right = measured()
    monkeypatch.setattr(module, name, wrong)
    assert measured() != pytest.approx(right, rel=1e-6)


def test_plain_cider_is_the_mean_cosine_and_does_not_clip():
    hypotheses = [("red", "red", "dog"), ("a", "cat")]
    references = [[("red", "dog")], [("a", "cat")]]
    # log idf is log 2 for everything; unigrams (2, 1) . (1, 1), bigrams red-red, red-dog . red-dog, no longer ones.
    unigrams, bigrams = 3 / math.sqrt(5 * 2), 1 / math.sqrt(2)
    assert cider(hypotheses, references)[0] == pytest.approx(10 * (unigrams + bigrams) / 4)
    clipped = 2 / math.sqrt(5 * 2)
    assert cider_d(hypotheses, references)[0] == pytest.approx(10 * (clipped + bigrams) / 4 * math.exp(-1 / 72))


def test_the_meteor_like_score_follows_meteor(data_root):
    fixture = read(data_root, FIXTURES[2])
    ours = list(map(meteor_like, *tokenised(fixture, 100)))
    theirs = [item["scores"]["METEOR"] for item in fixture["items"][:100]]
    means = sum(ours) / len(ours), sum(theirs) / len(theirs)
    products = sum((a - means[0]) * (b - means[1]) for a, b in zip(ours, theirs, strict=True))
    squares = sum((a - means[0]) ** 2 for a in ours) * sum((b - means[1]) ** 2 for b in theirs)
    assert products / math.sqrt(squares) > 0.85


def test_the_meteor_like_score_wants_the_words_in_order():
    reference = [("a", "brown", "dog", "plays")]
    whole = meteor_like(("a", "brown", "dog", "plays"), reference)
    alike = meteor_like(("a", "brown", "dog", "playing"), reference)
    assert whole == 1
    assert (
        whole
        > alike
        > meteor_like(("a", "brown", "dog", "barks"), reference)
        > meteor_like(("barks", "dog", "a", "brown"), reference)
    )
    assert meteor_like((), reference) == meteor_like(("cat",), reference) == 0


def test_an_empty_caption_scores_nothing_and_breaks_nothing():
    hypotheses, references = [(), ("a", "dog")], [[("a", "dog")], [("a", "dog"), ()]]
    assert rouge_l((), [("a",)]) == 0
    assert cider_d(hypotheses, references)[0] == 0
    assert all(0 <= value < 1 for value in caption_bleu(hypotheses, references))


def test_other_languages_and_quotation_marks():
    assert caption_tokens("Zwei Hunde laufen „schnell“ über's Feld.") == (
        "zwei",
        "hunde",
        "laufen",
        "schnell",
        "über",
        "'s",
        "feld",
    )
    assert caption_tokens("I\N{RIGHT SINGLE QUOTATION MARK}m sure it cannot (or won't) rain at 6:30.") == (
        "i", "'m", "sure", "it", "can", "not", "-lrb-", "or", "wo", "n't", "-rrb-", "rain", "at", "6:30",
    )  # fmt: skip


def test_bootstrap_over_captions():
    references = [("a red circle left of a blue square", "a red disc"), ("a dog on the grass",)] * 40
    good = [accepted[0] for accepted in references]
    bad = ["a cat on the grass"] * 80
    assert paired_bootstrap("cider-d", bad, good, references, num_samples=200).p_value < 0.02
    assert paired_bootstrap("rouge-l", good, good, references, num_samples=200).p_value > 0.9
