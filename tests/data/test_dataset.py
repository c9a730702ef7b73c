"""The block `data` of a recipe becomes vocabularies, stores and test items."""

import zlib
from pathlib import Path

import pytest
from corpora import LETTERS, letter_pairs, write_pairs

from regard.data import dataset as dataset_module
from regard.data.batching import Batches
from regard.data.corpus import TestItem, read_test_items
from regard.data.dataset import DataConfig, Vocabularies, cache_folder, open_named, open_split, prepare
from regard.data.store import TokenStore
from regard.data.tokenizer import TokenizerConfig, learn
from regard.errors import DataError, ModelError, UsageError
from regard.symbols import UNK

WORDS = {"kind": "words"}


def config(**settings: object) -> DataConfig:
    defaults = {"train": ["train.tsv"], "validation": "valid.tsv", "tokenizer": WORDS, "cache": "cache"}
    return DataConfig.model_validate({**defaults, **settings})


@pytest.fixture
def base(tmp_path: Path) -> Path:
    write_pairs(tmp_path, letter_pairs(40))
    write_pairs(tmp_path, letter_pairs(10, seed=2), "valid.tsv")
    write_pairs(tmp_path, letter_pairs(5, seed=3), "test.tsv")
    return tmp_path


def test_one_tokenizer_serves_both_sides(base: Path) -> None:
    write_pairs(base, [("only source", "nur ziel")])
    dataset = prepare(config(), base=base)
    assert dataset.vocabularies.source is dataset.vocabularies.target
    assert dataset.vocabularies.dimensions == (8, 8, True, 0, 0)


def test_two_tokenizers_serve_one_side_each(base: Path) -> None:
    write_pairs(base, [("only source", "das nur ziel")])
    dataset = prepare(
        config(tokenizer=None, source_tokenizer=WORDS, target_tokenizer={"kind": "characters"}), base=base
    )
    assert dataset.vocabularies.dimensions == (6, 4 + len(set("das nur ziel")), False, 0, 0)


def test_stores_and_items_are_those_of_the_files(base: Path) -> None:
    dataset = prepare(config(test=["test.tsv"]), base=base)
    assert len(dataset.train) == 40
    assert dataset.validation is not None
    assert len(dataset.validation) == 10
    assert [(item.source, *item.references) for item in dataset.validation_items] == letter_pairs(10, seed=2)
    tested = read_test_items(open_named(dataset.config, "test.tsv", dataset.base))
    assert [item.source for item in tested] == [pair[0] for pair in letter_pairs(5, seed=3)]
    assert dataset.report[0] == "train: 40 of 40 pairs are used"


def test_several_training_files_follow_each_other(base: Path) -> None:
    dataset = prepare(config(train=["train.tsv", "test.tsv"]), base=base)
    assert len(dataset.train) == 45
    last = letter_pairs(5, seed=3)[-1][0]
    assert dataset.vocabularies.source.decode(dataset.train.source(44).tolist()) == last


def test_what_is_left_out_is_reported(base: Path) -> None:
    write_pairs(base, [("a", "b"), ("a b c d", "a"), ("a", "")])
    report = prepare(config(max_length=4, validation=None), base=base).report
    assert report[0] == "train: 1 of 3 pairs are used"
    assert any("the source is longer than max_length 4" in line and "train.tsv:2" in line for line in report)
    assert any("the target is empty" in line and "train.tsv:3" in line for line in report)


def test_paths_are_relative_to_root_and_root_to_the_recipe(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    recipes = base / "recipes"
    recipes.mkdir()
    assert len(prepare(config(root=".."), base=recipes).train) == 40
    assert (base / "cache" / "stores").is_dir()
    absolute = config(train=[str(base / "train.tsv")], validation=None, root="elsewhere", cache=str(base / "cache"))
    assert len(prepare(absolute, base=recipes).train) == 40


def test_the_cache_is_where_the_user_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGARD_CACHE", "/somewhere")
    assert cache_folder(config(cache=None), Path("/recipes")) == Path("/somewhere")
    assert cache_folder(config(cache="own", root=".."), Path("/recipes")) == Path("/recipes/../own")
    monkeypatch.delenv("REGARD_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert cache_folder(config(cache=None), Path("/recipes")) == Path("/xdg/regard")


def test_a_second_time_nothing_is_learnt_or_built(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = prepare(config(), base=base)
    monkeypatch.setattr(dataset_module, "learn", lambda *_: pytest.fail("learnt again"))
    second = prepare(config(), base=base)
    assert second.vocabularies == first.vocabularies
    assert second.train.folder == first.train.folder


def test_a_damaged_tokenizer_in_the_cache_is_learnt_again(base: Path) -> None:
    subwords = config(tokenizer={"kind": "bpe", "size": 14})
    first = prepare(subwords, base=base).vocabularies
    for name in ("tokenizer.model", "fingerprints"):
        (path,) = (base / "cache").glob(f"tokenizers/*/{name}")
        content = path.read_bytes()
        for place in range(0, len(content), max(1, len(content) // 20)):
            path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
            assert prepare(subwords, base=base).vocabularies == first


def test_given_vocabularies_are_used_as_they_are(base: Path) -> None:
    foreign = learn(TokenizerConfig(kind="words"), ["a b z"])
    dataset = prepare(config(), Vocabularies(foreign, foreign), base=base)
    assert dataset.vocabularies.source is foreign


@pytest.mark.parametrize(
    "kinds", [{"tokenizer": WORDS}, {"source_tokenizer": WORDS, "target_tokenizer": {"kind": "characters"}}]
)
def test_vocabularies_are_saved_and_loaded(kinds: dict[str, object], base: Path) -> None:
    vocabularies = prepare(config(**{"tokenizer": None, **kinds}), base=base).vocabularies
    vocabularies.save(base / "model")
    loaded = Vocabularies.load(base / "model")
    assert loaded == vocabularies
    assert loaded.dimensions == vocabularies.dimensions
    assert {path.name: path.read_bytes() for path in (base / "model").iterdir()} == vocabularies.files


def test_half_a_pair_of_vocabularies_is_refused(base: Path) -> None:
    learn(TokenizerConfig(kind="words"), ["a"]).save(base, "source")
    with pytest.raises(ModelError, match=r"no tokenizer target"):
        Vocabularies.load(base)


@pytest.mark.parametrize(
    "settings",
    [
        {"tokenizer": None},
        {"tokenizer": None, "source_tokenizer": WORDS},
        {"source_tokenizer": WORDS, "target_tokenizer": WORDS},
        {"train": []},
        {"max_length": 1},
        {"formt": "tsv"},
        {"hold_out": 0.1},
        {"validation": None, "hold_out": 0.5},
        {"validation": None, "hold_out": -0.1},
        {"columns": [1]},
        {"columns": [0, 1]},
        {"columns": [2, 1], "format": "jsonl"},
    ],
)
def test_contradictions_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        config(**settings)


def test_a_missing_corpus_is_named(base: Path) -> None:
    with pytest.raises((DataError, UsageError), match=r"nowhere\.tsv"):
        prepare(config(train=["nowhere.tsv"]), base=base)


def words_of(store: TokenStore, vocabularies: Vocabularies) -> list[str]:
    return [vocabularies.source.decode(store.source(row).tolist()) for row in range(len(store))]


WORDS_HELD_OUT = {
    "train": ["a.dict", "b.dict"],
    "format": "cmudict",
    "validation": None,
    "hold_out": 0.2,
    "tokenizer": None,
    "source_tokenizer": {"kind": "characters"},
    "target_tokenizer": {"kind": "symbols"},
}


@pytest.fixture
def dictionaries(tmp_path: Path) -> Path:
    """Two dictionaries of 300 words, each with its variants far from it, and a line that cannot be used."""
    for name, first in (("a.dict", 0), ("b.dict", 200)):
        words = ["".join(LETTERS[int(digit)] for digit in f"{number:o}") for number in range(first, first + 300)]
        lines = [f"{word}  A B" for word in words] + [f"{word}(2)  B A" for word in words] + [f"h  {'A ' * 300}"]
        (tmp_path / name).write_text("\n".join(lines), encoding="utf-8")
    return tmp_path


def test_a_share_of_every_training_corpus_is_held_out_with_all_that_a_source_has(dictionaries: Path) -> None:
    dataset = prepare(config(**WORDS_HELD_OUT), base=dictionaries)
    assert dataset.validation is not None
    train, held_out = (words_of(store, dataset.vocabularies) for store in (dataset.train, dataset.validation))
    assert len(train) + len(held_out) == 1200
    assert 0.15 < len(held_out) / 1200 < 0.25
    assert not set(train) & set(held_out)
    assert all(zlib.crc32(word.encode()) / 2**32 < 0.2 for word in held_out)
    assert {item.source for item in dataset.validation_items} == set(held_out)
    assert {item.references for item in dataset.validation_items} == {("A B", "B A")}


def test_what_is_held_out_stays_so_when_lines_move_or_are_added(dictionaries: Path) -> None:
    def held_out() -> set[str]:
        return {item.source for item in prepare(config(**WORDS_HELD_OUT), base=dictionaries).validation_items}

    before = held_out()
    path = dictionaries / "a.dict"
    path.write_text("\n".join([*reversed(path.read_text().splitlines()), "hhhhh  A"]), encoding="utf-8")
    assert held_out() - {"hhhhh"} == before


def test_the_sides_of_a_split_corpus_know_their_lines_and_are_not_taken_for_each_other(dictionaries: Path) -> None:
    lines = (dictionaries / "a.dict").read_text().splitlines()
    one, other = config(**WORDS_HELD_OUT), config(**{**WORDS_HELD_OUT, "hold_out": 0.3})
    (train, *_), (held_out, *_) = open_split(one, dictionaries)
    for side in (train, held_out):
        for row, pair in enumerate(side):
            path, _, number = side.location(row).rpartition(":")
            assert path == str(dictionaries / "a.dict")
            assert lines[int(number) - 1].split("  ")[0].removesuffix("(2)") == pair.source
    sides = [train, held_out, *(corpora[0] for corpora in open_split(other, dictionaries))]
    assert len({side.fingerprint() for side in [*sides, open_named(one, "a.dict", dictionaries)]}) == 5
    assert train.fingerprint() == open_split(one, dictionaries)[0][0].fingerprint()


def test_lines_that_cannot_be_read_are_counted_once_on_the_side_of_training(dictionaries: Path) -> None:
    with (dictionaries / "a.dict").open("a", encoding="utf-8") as file:
        file.write("\nlonely\n")
    report = prepare(config(**WORDS_HELD_OUT, on_error="skip"), base=dictionaries).report
    assert sum("did not have the form of the file" in line for line in report) == 1
    assert not any(line.startswith("validation") for line in report if "used" not in line)


@pytest.mark.parametrize(("share", "use"), [(1e-9, "validate"), (0.49, "train")])
def test_a_share_that_leaves_nothing_on_one_side_is_refused(tmp_path: Path, share: float, use: str) -> None:
    word = next(word for word in LETTERS if zlib.crc32(word.encode()) / 2**32 < 0.49)
    write_pairs(tmp_path, [(word, "x"), (word, "y")])
    with pytest.raises(DataError, match=rf"train\.tsv leaves nothing to {use} on; set a .* share"):
        prepare(config(validation=None, hold_out=share), base=tmp_path)


def test_blank_sources_are_never_held_out(tmp_path: Path) -> None:
    write_pairs(tmp_path, [("", "x"), *letter_pairs(40)])
    dataset = prepare(config(validation=None, hold_out=0.2), base=tmp_path)
    assert all(item.source for item in dataset.validation_items)
    assert any("train" in line and "the source is empty" in line for line in dataset.report)


def test_no_vocabulary_is_learnt_from_what_is_held_out(tmp_path: Path) -> None:
    write_pairs(tmp_path, [(f"word{number}", "x") for number in range(50)])
    dataset = prepare(config(validation=None, hold_out=0.3), base=tmp_path)
    assert 0 < len(dataset.validation_items) < 50
    for item in dataset.validation_items:
        assert dataset.vocabularies.source.encode(item.source) == [UNK]


def test_columns_read_a_table_backwards(base: Path) -> None:
    forwards, backwards = config(), config(columns=[2, 1], format="tsv")
    items = prepare(backwards, base=base).validation_items
    assert items == [
        TestItem(*item.references, (item.source,)) for item in prepare(forwards, base=base).validation_items
    ]


def test_columns_of_what_is_no_table_are_refused(base: Path) -> None:
    for name in ("train.jsonl", "train.source", "train.target"):
        (base / name).write_text('{"source": "a", "target": "b"}\n')
    with pytest.raises(UsageError, match=r"`columns` are for TSV and CoNLL, but .*train\.jsonl is read as `jsonl`"):
        prepare(config(columns=[2, 1], train=["train.jsonl"]), base=base)
    (base / "train.tsv").unlink()
    with pytest.raises(
        UsageError, match=r"`columns` are for TSV and CoNLL, but .*train\.source and .* is read as `moses`"
    ):
        prepare(config(columns=[2, 1], train=["train"]), base=base)


def test_multi30k_is_padded_little(data_root: Path, tmp_path: Path) -> None:
    settings = {
        "root": str(data_root / "multi30k"),
        "source": "de",
        "target": "en",
        "train": ["train"],
        "validation": None,
        "tokenizer": {"kind": "bpe", "size": 8000},
        "cache": str(tmp_path),
    }
    dataset = prepare(config(**settings))
    assert len(dataset.train) == 29_000
    epoch = Batches(dataset.train, batch_tokens=4096, seed=1).epoch(0)
    shapes = [(batch.source.numel(), batch.labels.numel()) for batch in epoch]
    source, target = (sum(side) for side in zip(*shapes, strict=True))
    assert source / dataset.train.source_lengths.sum() <= 1.12
    assert target / dataset.train.target_lengths.sum() <= 1.01
