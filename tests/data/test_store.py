"""A store holds what the corpus says, is built once, and never serves a damaged file."""

import json
import random
import threading
from pathlib import Path

import numpy as np
import pytest
from corpora import corpus_of, letter_pairs, letters, store_of

from regard.data import store as store_module
from regard.data.corpus import open_corpus
from regard.data.flat_file import FlatWriter, map_flat
from regard.data.simple_tokenizers import ListTokenizer
from regard.data.store import Encoding, TokenStore, open_store
from regard.data.tokenizer import TokenizerConfig, learn
from regard.errors import DataError, UsageError
from regard.symbols import BOS, EOS, UNK


def test_rows_are_the_pairs_of_the_corpus(tmp_path: Path) -> None:
    pairs = [*letter_pairs(50), ("a unknown", "b")]
    store = store_of(tmp_path, pairs)
    assert len(store) == 51
    for row, (source, target) in enumerate(pairs):
        assert store.source(row).tolist() == [*letters().encode(source), EOS]
        assert store.target(row).tolist() == [BOS, *letters().encode(target), EOS]
        assert store.source_lengths[row] == len(source.split()) + 1
        assert store.target_lengths[row] == len(target.split()) + 1
    assert UNK in store.source(50)


def test_ids_are_mapped_not_read(tmp_path: Path) -> None:
    store = store_of(tmp_path, letter_pairs(20))
    values = store.sources.values
    base = values
    while isinstance(base, np.ndarray) and not isinstance(base, np.memmap):
        base = base.base
    assert isinstance(base, np.memmap)
    assert values.dtype == np.uint16
    assert not values.flags.writeable


def test_large_vocabularies_take_four_bytes(tmp_path: Path) -> None:
    large = ListTokenizer("words", [f"w{number}" for number in range(70_000)])
    store = open_store([corpus_of(tmp_path, [("w69999", "w1 w2")])], Encoding(large, letters(), 10), tmp_path)
    assert store.source(0).tolist() == [70_003, EOS]
    assert store.sources.values.dtype == np.int32
    assert store.targets.values.dtype == np.uint16


def test_a_second_opening_builds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = store_of(tmp_path, letter_pairs(20))
    monkeypatch.setattr(store_module, "_build", lambda *_: pytest.fail("built again"))
    second = store_of(tmp_path, letter_pairs(20))
    assert second.folder == first.folder


@pytest.mark.parametrize("change", ["corpus", "tokenizer", "max_length"])
def test_other_contents_are_another_store(change: str, tmp_path: Path) -> None:
    first = store_of(tmp_path, letter_pairs(20))
    pairs = letter_pairs(20, seed=2) if change == "corpus" else letter_pairs(20)
    tokenizer = ListTokenizer("words", list("hgfedcba")) if change == "tokenizer" else letters()
    encoding = Encoding(tokenizer, letters(), 99 if change == "max_length" else 100)
    second = open_store([corpus_of(tmp_path, pairs)], encoding, tmp_path / "cache")
    assert second.folder != first.folder


def test_a_damaged_store_is_built_again(tmp_path: Path) -> None:
    pairs = letter_pairs(30)
    whole = store_of(tmp_path, pairs)
    expected = [(whole.source(row).tolist(), whole.target(row).tolist()) for row in range(30)]
    generator = random.Random(1)
    names = sorted(path.name for path in whole.folder.iterdir())
    assert len(names) == 5
    for name in names:
        for damage in ("truncate", "flip", "delete", "empty"):
            path = whole.folder / name
            content = path.read_bytes()
            place = generator.randrange(len(content))
            if damage == "delete":
                path.unlink()
            elif damage == "flip" and not name.endswith(".json"):
                path.write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
            else:
                path.write_bytes(b"" if damage == "empty" else content[:place])
            store = store_of(tmp_path, pairs)
            found = [(store.source(row).tolist(), store.target(row).tolist()) for row in range(30)]
            assert found == expected, (name, damage)


def test_a_killed_builder_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = store_of(tmp_path, letter_pairs(20)).folder
    stale = folder.parent / f"{folder.name}.building.x1"
    folder.rename(stale)  # as if killed before the last rename
    (stale / "store.json").unlink()
    assert len(store_of(tmp_path, letter_pairs(20))) == 20
    assert not stale.exists()
    with monkeypatch.context() as patch:
        patch.setattr(store_module.TokenStore, "__init__", lambda *_: (_ for _ in ()).throw(DataError("damaged")))
        with pytest.raises(DataError):
            store_of(tmp_path, letter_pairs(20))
    assert [path.name for path in folder.parent.iterdir() if "building" in path.name] == []


def test_several_at_once_build_it_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    builds = []
    build = store_module._build
    monkeypatch.setattr(store_module, "_build", lambda *args: (builds.append(1), build(*args)))
    pairs = letter_pairs(50)
    corpus_of(tmp_path, pairs)
    stores: list[TokenStore] = []

    def open_it() -> None:
        corpus = open_corpus(tmp_path / "train.tsv", format="tsv")
        stores.append(open_store([corpus], Encoding(letters(), letters(), 100), tmp_path / "cache"))

    threads = [threading.Thread(target=open_it) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [len(store) for store in stores] == [50] * 4
    assert builds == [1]


def test_what_is_left_out_is_counted_and_located(tmp_path: Path) -> None:
    long = " ".join("a" * 9)
    pairs = [("a", "b"), ("", "b"), (long, "b"), ("a", long), ("a", " "), ("b", "a"), (long + " a", "b")]
    store = store_of(tmp_path, pairs, max_length=9)
    assert len(store) == 2
    assert store.num_pairs_read == 7
    reasons = {
        left.reason: (left.num_pairs, [where.rsplit(":")[-1] for where in left.examples]) for left in store.left_out
    }
    assert reasons == {
        "the source is empty": (1, ["2"]),
        "the target is empty": (1, ["5"]),
        "the source is longer than max_length 9": (2, ["3", "7"]),
        "the target is longer than max_length 9": (1, ["4"]),
    }


def test_exactly_max_length_fits(tmp_path: Path) -> None:
    eight = " ".join("a" * 8)
    assert store_of(tmp_path, [(eight, eight)], max_length=9).source_lengths.tolist() == [9]


def test_a_corpus_without_a_usable_pair_is_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"none of the 2 pairs can be used: 2 because the source is longer .*train\.tsv:1"
    ):
        store_of(tmp_path, [("a a a", "b")] * 2, max_length=2)


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    encoding = Encoding(letters(), letters(), 9)
    with pytest.raises(UsageError, match=r"data\.cache"):
        open_store([corpus_of(tmp_path, [("a", "b")])], encoding, tmp_path / "file")


def test_an_npy_file_is_readable_by_numpy_itself(tmp_path: Path) -> None:
    with FlatWriter(tmp_path, "ids", "<u2") as writer:
        for length in (3, 0, 5):
            writer.append(np.arange(length))
        files = writer.finish()
    assert np.load(tmp_path / "ids.npy").tolist() == [0, 1, 2, 0, 1, 2, 3, 4]
    assert [map_flat(tmp_path, "ids", files)[row].tolist() for row in range(3)] == [[0, 1, 2], [], [0, 1, 2, 3, 4]]


@pytest.fixture
def sampled(tmp_path: Path) -> TokenStore:
    texts = [
        f"{a}{b}{c} {c}{a}" for a in ("un", "ge", "be") for b in ("fahr", "lauf", "seh") for c in ("en", "er", "t")
    ]
    tokenizer = learn(TokenizerConfig(kind="bpe", size=40), texts)
    corpus = corpus_of(tmp_path, [(text, text) for text in texts])
    return open_store([corpus], Encoding(tokenizer, tokenizer, 30, (0.3, 0.0)), tmp_path / "cache")


def test_each_epoch_draws_its_own_segmentations(sampled: TokenStore) -> None:
    def ids(seed: int, epoch: int) -> list[list[int]]:
        store = sampled.resample(seed, epoch)
        return [store.source(row).tolist() for row in range(len(store))]

    assert ids(1, 0) == ids(1, 0)
    assert len({str(ids(1, 0)), str(ids(1, 1)), str(ids(2, 0))}) == 3


def test_drawn_segmentations_say_the_same(sampled: TokenStore) -> None:
    drawn = sampled.resample(1, 1)
    tokenizer = sampled._encoding.source
    assert [tokenizer.decode(drawn.source(row).tolist()) for row in range(27)] == [
        tokenizer.decode(sampled.source(row).tolist()) for row in range(27)
    ]
    assert (drawn.targets.values == sampled.targets.values).all()  # its rate is 0
    assert (drawn.source_lengths == [len(drawn.source(row)) for row in range(27)]).all()
    assert not list(sampled.folder.parent.glob("tmp*"))


def test_drawn_segmentations_keep_to_max_length(tmp_path: Path, sampled: TokenStore) -> None:
    longest = int(sampled.source_lengths.max())
    encoding = sampled._encoding._replace(max_length=longest)
    store = open_store([open_corpus(tmp_path / "train.tsv", format="tsv")], encoding, tmp_path / "cache")
    assert store.resample(1, 1).source_lengths.max() <= longest


def test_descriptions_of_another_format_are_not_read(tmp_path: Path) -> None:
    store = store_of(tmp_path, letter_pairs(5))
    path = store.folder / "store.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 99}))
    with pytest.raises(DataError, match="format 1"):
        TokenStore(store.folder, Encoding(letters(), letters(), 100))
