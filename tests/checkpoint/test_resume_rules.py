"""A run goes on under another recipe only where its weights keep their meaning."""

import pytest

from regard.checkpoint.resume import Difference, check_resume, compare_recipes
from regard.errors import UsageError

RECIPE = {
    "data": {"root": "data", "tokenizer": {"kind": "unigram", "size": 8000, "sampling": 0.0}, "train": ["a"]},
    "model": {"kind": "transformer", "num_layers": 3, "dropout": 0.1, "preset": "small"},
    "training": {"label_smoothing": 0.1, "batch_tokens": 4096},
    "tokenizers": {"source": "aaaa", "target": "aaaa"},
}


def changed(key: str, value: object) -> dict:
    block, _, name = key.rpartition(".")
    copy = {key: dict(inner) for key, inner in RECIPE.items()}
    copy["data"]["tokenizer"] = dict(RECIPE["data"]["tokenizer"])
    place = copy
    for part in block.split("."):
        place = place[part]
    place[name] = value
    return copy


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model.num_layers", 4),
        ("model.kind", "seq2seq"),
        ("model.extra", 1),
        ("data.tokenizer.size", 9000),
        ("data.tokenizer.kind", "bpe"),
        ("tokenizers.source", "aaab"),
    ],
)
def test_c11_what_changes_the_model_or_its_ids_is_refused_with_a_table(key: str, value: object) -> None:
    differences = compare_recipes(RECIPE, changed(key, value))
    assert [difference.key for difference in differences] == [key]
    with pytest.raises(UsageError, match="cannot go on with this recipe") as caught:
        check_resume(differences)
    lines = str(caught.value).split("\n")
    assert lines[1].split() == ["key", "run", "recipe"]
    assert lines[2].split() == [key, repr(differences[0].old), repr(value)]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("training.label_smoothing", 0.2),
        ("training.batch_tokens", 1024),
        ("model.dropout", 0.3),
        ("model.preset", "base"),
        ("data.tokenizer.sampling", 0.1),
        ("data.root", "/elsewhere"),
    ],
)
def test_c11_what_steers_training_may_change_and_is_told(key: str, value: object) -> None:
    differences = compare_recipes(RECIPE, changed(key, value))
    assert [difference._replace(old=None) for difference in differences] == [Difference(key, None, value, fatal=False)]
    check_resume(differences)


def test_a_tokenizer_block_that_appears_or_goes_is_fatal() -> None:
    recipe = changed("data.source_tokenizer", {"kind": "bpe"})
    del recipe["data"]["tokenizer"]
    assert all(d.fatal for d in compare_recipes(RECIPE, recipe) if not d.key.endswith("sampling"))
    with pytest.raises(UsageError):
        check_resume(compare_recipes(RECIPE, recipe))


def test_equal_recipes_do_not_differ() -> None:
    assert compare_recipes(RECIPE, changed("model.num_layers", 3)) == []
