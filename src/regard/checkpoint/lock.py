"""One process per run folder: a lock that the system gives back when its holder dies, and a note of who holds it."""

import contextlib
import json
import os
import socket
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from regard.errors import LockedError, UsageError

LOCK = ".lock"
HOLDER = ".lock.json"


class RunLock:
    """The right to write in a run folder. Who holds it stands in `.lock.json`: host, process, start.

    The lock itself is the system's (`flock`), so it ends with the process; the note is only for people, and a note
    without a lock means that its writer was killed.
    """

    def __init__(self, folder: Path, *, notify: Callable[[str], None]) -> None:
        """Take the lock of `folder`; `notify` hears of a holder that died.

        Raises:
            LockedError: another process has it.
            UsageError: the folder cannot be written.
        """
        self._note = folder / HOLDER
        self._lock = FileLock(folder / LOCK, timeout=0)
        try:
            self._lock.acquire()
        except Timeout:
            raise LockedError(f"{folder}: in use by {_describe(_read(self._note))}; wait for it or stop it") from None
        except OSError as error:
            raise UsageError(f"{folder}: cannot be written: {error.strerror}") from None
        if (previous := _read(self._note)) is not None:
            notify(f"{folder}: {_describe(previous)} ended without giving the lock back; going on from what it saved")
        self._write_note()

    def _write_note(self) -> None:
        note = {"host": socket.gethostname(), "pid": os.getpid(), "start": datetime.now(UTC).isoformat("T", "seconds")}
        with contextlib.suppress(OSError):  # a full disk must not keep anybody from training: the note is a courtesy
            self._note.write_text(json.dumps(note) + "\n", encoding="utf-8")

    def release(self) -> None:
        """Give the lock back."""
        self._note.unlink(missing_ok=True)
        self._lock.release()


def _read(note: Path) -> dict[str, Any] | None:
    try:
        value = json.loads(note.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def _describe(holder: dict[str, Any] | None) -> str:
    if holder is None:
        return "another process"
    return f"process {holder.get('pid')} on {holder.get('host')}, started {holder.get('start')}"
