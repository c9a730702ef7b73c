"""Two files that should be aligned and are not: how many lines each has, and where they seem to part."""

import math
import re
from array import array
from collections import deque
from itertools import accumulate, islice
from pathlib import Path

from regard.data.text import count_lines, read_lines
from regard.errors import DataError

MAX_SHIFT = 10_000
"""More missing lines than these are not looked for: a window of so many lines is held in memory."""

_ANCHORS = re.compile(r"\d+|[?!]$")


class MisalignedError(DataError):
    """Two files that should be aligned have different numbers of lines."""


def describe_mismatch(source: Path, target: Path) -> MisalignedError:
    """The error for two files of different length: both counts, and the line near which they seem to part."""
    source_count, target_count = count_lines(source), count_lines(target)
    counts = f"{source} has {source_count:,} lines but {target} has {target_count:,}"
    duty = "line i of one must belong to line i of the other"
    if not source_count or not target_count:
        return MisalignedError(f"{counts}; {duty}, and an empty file has none")
    if abs(source_count - target_count) > MAX_SHIFT:
        return MisalignedError(f"{counts}; {duty}; are they files of the same corpus?")
    longer = source if source_count > target_count else target
    line = parting_line(source, target, source_count - target_count)
    hint = f"the first {line - 1:,} lines seem to fit, so look near line {line:,} of {longer}"
    return MisalignedError(f"{counts}; {duty}; {hint}")


def parting_line(source: Path, target: Path, surplus: int) -> int:
    """The line, from 1, of the longer file that has most likely no partner.

    All `surplus` lines (of the source; of the target where it is negative) are taken to be in one place k. Of all k the
    one is chosen for which lengths, numbers and final marks agree best: before k line for line, after it shifted.
    """
    longer, shorter = (source, target) if surplus > 0 else (target, source)
    ratio = _length(longer) / max(1.0, _length(shorter))
    straight, shifted = array("d"), array("d")
    lines = (_features(line) for line in read_lines(longer, on_error="replace"))
    window = deque(islice(lines, abs(surplus)))
    for short in map(_features, read_lines(shorter, on_error="replace")):
        window.append(next(lines, ("", 0)))
        straight.append(_agreement(window[0], short, ratio))
        shifted.append(_agreement(window[-1], short, ratio))
        window.popleft()
    before = array("d", accumulate(straight, initial=0.0))
    after = array("d", accumulate(reversed(shifted), initial=0.0))
    after.reverse()
    best = max(range(len(before)), key=lambda row: before[row] + after[row])
    return best + 1


def _features(line: str) -> tuple[str, int]:
    return " ".join(_ANCHORS.findall(line)), len(line)


def _agreement(long: tuple[str, int], short: tuple[str, int], ratio: float) -> float:
    """Between about -3 and 3: equal numbers and marks, and lengths in the files' own proportion."""
    lengths = -min(2.0, 2.0 * abs(math.log((long[1] + 5) / (short[1] * ratio + 5))))
    if not long[0] and not short[0]:
        return lengths
    return lengths + (3.0 if long[0] == short[0] else -1.0)


def _length(path: Path) -> float:
    """Characters a line on average, in the first lines."""
    lengths = [len(line) for line in islice(read_lines(path, on_error="replace"), 10_000)]
    return sum(lengths) / max(1, len(lengths))
