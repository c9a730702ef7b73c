"""`log.jsonl`: what happened in a run, one JSON object a line, each line whole."""

import errno
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from regard.errors import UsageError, UserError


class EventLog:
    """An append-only file of events. Opening it cuts off half a line that a killed process left."""

    def __init__(self, path: Path) -> None:
        """Open or create the log at `path`.

        Raises:
            UsageError: it cannot be written.
        """
        self._path = path
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
        try:
            self._descriptor = os.open(path, flags, 0o666)
            content = path.read_bytes()
        except OSError as error:
            raise UsageError(f"{path}: cannot be written: {error.strerror}") from None
        os.ftruncate(self._descriptor, content.rfind(b"\n") + 1)

    def add(self, event: Mapping[str, Any]) -> None:
        """Append one event. Numbers that are not finite become the strings "nan", "inf" and "-inf".

        Raises:
            UserError: the line cannot be written; nothing of it stays then.
        """
        line = (json.dumps(plain(event), ensure_ascii=False, allow_nan=False) + "\n").encode()
        size = os.fstat(self._descriptor).st_size
        try:
            if os.write(self._descriptor, line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            os.ftruncate(self._descriptor, size)
            raise UserError(f"{self._path}: cannot be written: {error.strerror}") from error

    def truncate(self, step: int, *, again: str | None = None) -> None:
        """Keep the events before the first one of a step after `step`, or of `step` itself if it is called `again`."""
        kept = 0
        for line in self._path.read_bytes().removesuffix(b"\n").split(b"\n"):
            if _step(line) > step:
                break
            if again is not None and _step(line) == step and json.loads(line).get("event") == again:
                break
            kept += len(line) + 1
        os.ftruncate(self._descriptor, kept)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


def plain(value: Any) -> Any:
    """`value` with the strings "nan", "inf" and "-inf" for the numbers that JSON does not have."""
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def _step(line: bytes) -> float:
    # A line that is no event was not written by us: what follows it cannot be trusted either.
    try:
        event = json.loads(line)
    except ValueError:
        return math.inf
    step = event.get("step", -1) if isinstance(event, dict) else math.inf
    return float(step) if isinstance(step, int | float) else math.inf
