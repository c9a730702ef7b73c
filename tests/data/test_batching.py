"""Batches: every pair once, within the budget, in an order that only (seed, epoch) decides."""

from pathlib import Path

import numpy as np
import pytest
import torch
from corpora import letter_pairs, store_of

from regard.data.batching import Batches, Epoch, batch_rows_by_length, cut, largest_batch_tokens, pad
from regard.data.store import TokenStore
from regard.errors import DataError
from regard.symbols import BOS, EOS, PAD


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> TokenStore:
    return store_of(tmp_path_factory.mktemp("store"), letter_pairs(500))


def rows_of(epoch: Epoch) -> list[list[int]]:
    return [rows.tolist() for rows in epoch.rows]


def flat(epochs: list[Epoch]) -> list[int]:
    return sorted(row for epoch in epochs for rows in epoch.rows for row in rows.tolist())


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("batch_tokens", [1, 25, 200, 4096, 10**6])
def test_every_pair_comes_once_and_fits(store: TokenStore, batch_tokens: int, shuffle: bool) -> None:
    epoch = Batches(store, batch_tokens=batch_tokens, seed=1, shuffle=shuffle).epoch(0)
    assert flat([epoch]) == list(range(500))
    for rows in epoch.rows:
        longest = max(store.source_lengths[rows].max(), store.target_lengths[rows].max())
        assert len(rows) == 1 or len(rows) * longest <= batch_tokens


def test_a_batch_is_its_pairs_padded(store: TokenStore) -> None:
    epoch = Batches(store, batch_tokens=200, seed=1).epoch(3)
    for batch, rows in zip(epoch, epoch.rows, strict=True):
        assert batch.target is not None
        assert batch.rows is not None
        assert batch.rows.tolist() == rows.tolist()
        assert batch.source.dtype == batch.target.dtype == torch.int64
        for place, row in enumerate(rows.tolist()):
            for padded, ids in ((batch.source, store.source(row)), (batch.target, store.target(row))):
                assert padded[place].tolist() == [*ids.tolist(), *[PAD] * (padded.shape[1] - len(ids))]
        assert batch.source.shape[1] == store.source_lengths[rows].max()
        assert batch.labels.shape[1] == store.target_lengths[rows].max()
        assert (batch.target[:, 0] == BOS).all()
        assert ((batch.source == EOS).sum(1) == 1).all()


def test_order_is_a_pure_function_of_seed_and_epoch(store: TokenStore) -> None:
    def order(seed: int, epoch: int) -> list[list[int]]:
        return rows_of(Batches(store, batch_tokens=200, seed=seed).epoch(epoch))

    batches = Batches(store, batch_tokens=200, seed=7)
    batches.epoch(5)
    assert rows_of(batches.epoch(2)) == order(7, 2)  # whatever was asked for before
    assert len({str(order(7, 0)), str(order(7, 1)), str(order(8, 0))}) == 3


def test_also_who_shares_a_batch_changes(store: TokenStore) -> None:
    batches = Batches(store, batch_tokens=200, seed=7)
    first, second = (set(map(frozenset, rows_of(batches.epoch(epoch)))) for epoch in (0, 1))
    assert len(first & second) < len(first) / 4


def test_the_order_does_not_change_unnoticed(store: TokenStore) -> None:
    # A run that is resumed after an upgrade shall go on in the order it began with: changing this breaks exact resume.
    first = rows_of(Batches(store, batch_tokens=200, seed=1).epoch(0))[:3]
    assert [rows[:3] for rows in first] == [[492, 24, 204], [118, 129, 169], [140, 52, 287]]


def test_resuming_in_the_middle_gives_the_rest(store: TokenStore) -> None:
    epoch = Batches(store, batch_tokens=200, seed=1).epoch(1)
    rest = Batches(store, batch_tokens=200, seed=1).epoch(1)[7:]
    assert len(rest) == len(epoch) - 7
    for place, batch in enumerate(rest, 7):
        assert torch.equal(batch.source, epoch[place].source)
    assert torch.equal(epoch[-1].source, epoch[len(epoch) - 1].source)
    with pytest.raises(IndexError):
        epoch[len(epoch)]


def test_batches_of_like_lengths_come_in_random_order(store: TokenStore) -> None:
    epoch = Batches(store, batch_tokens=200, seed=1).epoch(0)
    lengths = [int(store.target_lengths[rows].max()) for rows in epoch.rows]
    assert lengths != sorted(lengths)
    spread = [np.ptp(store.target_lengths[rows]) for rows in epoch.rows]
    assert np.mean(spread) < 1.0


def test_without_shuffling_batches_go_by_length_in_every_epoch(store: TokenStore) -> None:
    batches = Batches(store, batch_tokens=200, seed=1, shuffle=False)
    lengths = [int(store.target_lengths[rows].max()) for rows in batches.epoch(0).rows]
    assert lengths == sorted(lengths)
    assert rows_of(batches.epoch(0)) == rows_of(batches.epoch(1))


@pytest.mark.parametrize("world_size", [2, 3, 4])
def test_processes_share_the_pairs_evenly(store: TokenStore, world_size: int) -> None:
    ranks = [
        Batches(store, batch_tokens=200, seed=1, rank=rank, world_size=world_size).epoch(2)
        for rank in range(world_size)
    ]
    assert len({len(epoch) for epoch in ranks}) == 1
    assert flat(ranks) == list(range(500))
    for step in zip(*(epoch.rows for epoch in ranks), strict=True):
        tokens = [int(store.source_lengths[rows].sum() + store.target_lengths[rows].sum()) for rows in step]
        assert max(tokens) - min(tokens) < 200


@pytest.mark.parametrize("number", [1, 2, 3, 5])
def test_small_corpora_work(number: int, tmp_path: Path) -> None:
    store = store_of(tmp_path, letter_pairs(number))
    for epoch in range(3):
        assert flat([Batches(store, batch_tokens=4096, seed=1).epoch(epoch)]) == list(range(number))


def test_fewer_pairs_than_processes_is_an_error_not_a_hang(tmp_path: Path) -> None:
    store = store_of(tmp_path, letter_pairs(3))
    with pytest.raises(DataError, match="3 pairs cannot feed 4 processes"):
        Batches(store, batch_tokens=100, seed=1, world_size=4)
    assert [len(Batches(store, batch_tokens=100, seed=1, rank=r, world_size=3).epoch(0)) for r in range(3)] == [1, 1, 1]


def test_a_pair_over_the_budget_is_a_batch_and_is_counted(tmp_path: Path) -> None:
    store = store_of(tmp_path, [("a b c d e f", "a"), ("a", "b"), ("b", "a b c d e f g h")])
    batches = Batches(store, batch_tokens=6, seed=1)
    assert sorted(rows_of(batches.epoch(0))) == [[0], [1], [2]]


def test_misuse_is_refused(store: TokenStore) -> None:
    with pytest.raises(ValueError, match="batch_tokens"):
        Batches(store, batch_tokens=0, seed=1)
    with pytest.raises(ValueError, match="rank"):
        Batches(store, batch_tokens=10, seed=1, rank=2, world_size=2)


def test_no_last_batch_is_a_few_left_over_rows() -> None:
    sizes = [len(rows) for rows in cut(np.arange(101), np.full(101, 10), 100)]
    assert sum(sizes) == 101
    assert sizes[-2:] == [6, 5]


def test_translation_batches_hold_every_row_longest_first() -> None:
    lengths = [3, 9, 1, 9, 40, 2, 0]
    batches = batch_rows_by_length(lengths, 18)
    assert [rows.tolist() for rows in batches] == [[4], [1, 3], [0, 5, 2, 6]]
    assert batch_rows_by_length([], 18) == []


def test_lists_are_padded() -> None:
    assert pad([[4, 5], [], [6]]).tolist() == [[4, 5], [PAD, PAD], [6, PAD]]
    assert pad([]).shape == (0, 0)


@pytest.mark.parametrize("capacity", [512, 700, 1024, 5000, 40_000, 10**7])
def test_the_largest_batch_that_fits_is_found(capacity: int) -> None:
    tried = []

    def attempt(tokens: int) -> int:
        tried.append(tokens)
        if tokens > capacity:
            raise torch.OutOfMemoryError
        return tokens * 1000

    found = largest_batch_tokens(attempt, limit=10**12)
    assert found <= capacity
    assert found == 65_536 or found + max(256, found // 4) > capacity or found * 1.5 > capacity
    assert len(tried) < 20
    assert largest_batch_tokens(attempt, limit=3_000_000) <= 3000


def test_nothing_fitting_is_an_error() -> None:
    with pytest.raises(DataError, match="use a smaller model"):
        largest_batch_tokens(lambda tokens: tokens, limit=100)
