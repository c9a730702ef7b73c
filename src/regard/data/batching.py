"""Batches of like lengths under a budget of tokens; their order is a pure function of (seed, epoch)."""

from collections.abc import Callable, Sequence
from typing import Any, overload

import numpy as np
import torch
from numpy.typing import NDArray

from regard.data.abstract_store import Store
from regard.data.batch import Batch
from regard.data.padding import pad as pad
from regard.data.padding import pad_rows
from regard.errors import DataError

Rows = NDArray[np.int64]
Lengths = NDArray[np.int64]

# Rows are sorted by length inside windows of about so many batches: nearly no padding, and still other
# neighbours in every epoch of a large corpus.
BATCHES_PER_WINDOW = 100
CPU_BATCH_TOKENS = 4096


class Batches:
    """The batches of a corpus, epoch after epoch: each pair once an epoch, rows * longest side <= `batch_tokens`.

    A pair that alone is longer than `batch_tokens` is a batch of its own.
    With `world_size` processes each `rank` gets its own batches: the same number for all, and in each step
    nearly the same number of tokens.
    """

    def __init__(
        self,
        store: Store,
        *,
        batch_tokens: int,
        seed: int,
        shuffle: bool = True,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        """Plan nothing yet.

        Raises:
            ValueError: `batch_tokens` is not positive, or `rank` not in `range(world_size)`.
            DataError: There are fewer pairs than processes.
        """
        if batch_tokens < 1:
            raise ValueError(f"batch_tokens must be positive, not {batch_tokens}")
        if not 0 <= rank < world_size:
            raise ValueError(f"rank {rank} is not one of {world_size}")
        if len(store) < world_size:
            raise DataError(f"{len(store)} pairs cannot feed {world_size} processes: use fewer processes or more data")
        self.store = store
        self.batch_tokens = batch_tokens
        self.seed = seed
        self.shuffle = shuffle
        self.rank = rank
        self.world_size = world_size

    def epoch(self, epoch: int) -> "Epoch":
        """The batches of one epoch, by place: nothing is padded before it is asked for."""
        if not self.shuffle:
            order = sort_by_lengths(self.store.source_lengths, self.store.target_lengths)
            plan = cut(order, _longest(self.store)[order], self.batch_tokens)
            return Epoch(self.store, share(plan, self.store, self.world_size)[self.rank :: self.world_size])
        store = self.store.resample(self.seed, epoch)
        generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence((self.seed, epoch))))
        plan = share(_plan(store, self.batch_tokens, generator), store, self.world_size)
        # Steps change places, not batches: what the processes do at the same time stays alike.
        steps = generator.permutation(len(plan) // self.world_size) * self.world_size + self.rank
        return Epoch(store, [plan[place] for place in steps.tolist()])


class Epoch(Sequence[Batch]):
    """The batches of an epoch; `rows[k]` are the rows of the k-th."""

    def __init__(self, store: Store, rows: list[Rows]) -> None:
        self.store = store
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, place: int) -> Batch: ...

    @overload
    def __getitem__(self, place: slice) -> "Epoch": ...

    def __getitem__(self, place: int | slice) -> "Batch | Epoch":
        if isinstance(place, slice):
            return Epoch(self.store, self.rows[place])
        return collate(self.store, self.rows[place])


def collate(store: Store, rows: Rows) -> Batch:
    """Pad the pairs `rows` to one batch."""
    return Batch(store.source_batch(rows), pad_rows(store.targets, rows), torch.from_numpy(rows))


def batch_rows_by_length(lengths: Sequence[int] | NDArray[Any], batch_tokens: int) -> list[Rows]:
    """Rows in batches of like lengths, the longest first: for translation, where the order of batches is free.

    The longest come first so that what does not fit into memory says so at once.
    """
    sides = np.asarray(lengths, np.int64)
    order = np.argsort(-sides, kind="stable")
    return cut(order, sides[order], batch_tokens)


def sort_by_lengths(source: Lengths, target: Lengths) -> Rows:
    """Order by target length, and among equals by source length: up, then down, like a snake.

    Where a batch spans two target lengths its sources then are alike as well.
    """
    order: Rows = np.lexsort((np.where(target % 2 == 0, source, -source), target))
    return order


def cut(order: Rows, longest: Lengths, batch_tokens: int) -> list[Rows]:
    """Cut `order` from the front, as far as rows * longest side <= `batch_tokens`; at least one row each."""
    batches: list[Rows] = []
    start = 0
    while start < len(order):
        most = max(1, batch_tokens // max(1, int(longest[start])))
        sides = np.maximum.accumulate(longest[start : start + most])
        # Monotone, so the rows that fit are the first ones.
        fit = int(np.searchsorted(sides * np.arange(1, len(sides) + 1), batch_tokens, side="right"))
        batches.append(order[start : start + max(1, fit)])
        start += max(1, fit)
    if len(batches) > 1 and 2 * len(batches[-1]) < len(batches[-2]):
        # What is left over would be a step of a few sentences: share the last two batches' rows, where they fit.
        num_rows = len(batches[-2]) + len(batches[-1])
        if -(-num_rows // 2) * int(longest[-num_rows:].max()) <= batch_tokens:
            batches[-2:] = np.array_split(order[-num_rows:], 2)
    return batches


def share(plan: list[Rows], store: Store, world_size: int) -> list[Rows]:
    """The batches in steps of `world_size` of like size, one step behind the other; the largest are halved to get even.

    Raises:
        DataError: There are not enough rows.
    """
    if world_size == 1:
        return plan
    plan = list(plan)
    while len(plan) % world_size:
        largest = max(range(len(plan)), key=lambda place: len(plan[place]))
        rows = plan.pop(largest)
        if len(rows) == 1:
            raise DataError(f"{len(store)} pairs cannot feed {world_size} processes evenly; use fewer processes")
        plan += [rows[::2], rows[1::2]]
    tokens = [int(store.source_lengths[rows].sum() + store.target_lengths[rows].sum()) for rows in plan]
    return [plan[place] for place in np.argsort(tokens, kind="stable").tolist()]


def largest_batch_tokens(attempt: Callable[[int], int], *, limit: int, smallest: int = 512, most: int = 65_536) -> int:
    """The most tokens a batch may have: `attempt(n)` runs a step of n tokens and tells its peak memory in bytes.

    Doubles from `smallest` until `attempt` raises `torch.OutOfMemoryError` or MemoryError, or passes `limit`
    bytes, then tries the half-way steps. Call it where a step changes nothing that is kept.

    Raises:
        DataError: Not even `smallest` tokens fit.
    """

    def fits(tokens: int) -> bool:
        try:
            return attempt(tokens) <= limit
        except (torch.OutOfMemoryError, MemoryError):
            return False

    if not fits(smallest):
        raise DataError(f"a batch of {smallest} tokens does not fit into {limit:,} bytes: use a smaller model")
    good = smallest
    while good < most and fits(2 * good):
        good *= 2
    if good >= most:
        return good
    step = good // 2
    while step >= smallest // 2:
        good += step if fits(good + step) else 0
        step //= 2
    return good


def _longest(store: Store) -> Lengths:
    longest: Lengths = np.maximum(store.source_lengths, store.target_lengths)
    return longest


def _plan(store: Store, batch_tokens: int, generator: np.random.Generator) -> list[Rows]:
    longest = _longest(store)
    order = generator.permutation(len(store))
    window = BATCHES_PER_WINDOW * max(1, batch_tokens // max(1, int(longest.mean())))
    plan: list[Rows] = []
    for rows in np.array_split(order, max(1, round(len(order) / window))):
        # Pairs of equal lengths stay in the random order they came in, and there are many of each.
        rows = rows[sort_by_lengths(store.source_lengths[rows], store.target_lengths[rows])]
        plan += cut(rows, longest[rows], batch_tokens)
    return plan
