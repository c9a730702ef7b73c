"""One process per run folder; a dead one does not keep it."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from regard.checkpoint.lock import RunLock
from regard.errors import LockedError

HOLDER = """
import sys
from pathlib import Path
from regard.checkpoint.lock import RunLock
from regard.errors import LockedError
try:
    lock = RunLock(Path(sys.argv[1]), notify=print)
except LockedError as error:
    print(error, flush=True)
    sys.exit(error.exit_code)
print("mine", flush=True)
sys.stdin.read()
lock.release()
"""


def hold(folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HOLDER, str(folder)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_t09_of_processes_that_start_together_exactly_one_wins(tmp_path: Path) -> None:
    processes = [hold(tmp_path) for _ in range(4)]
    first = [process.stdout.readline() for process in processes]
    assert first.count("mine\n") == 1
    winner = processes[first.index("mine\n")]
    for process, line in zip(processes, first, strict=True):
        process.stdin.close()
        code = process.wait(timeout=60)
        process.stdout.close()
        assert code == (0 if process is winner else 5)
        assert process is winner or "in use by" in line


def test_t09_the_second_process_is_told_at_once_who_holds_the_run(tmp_path: Path) -> None:
    process = hold(tmp_path)
    assert process.stdout.readline() == "mine\n"
    start = time.monotonic()
    with pytest.raises(LockedError, match=rf"in use by process {process.pid} on \S+, started 20\d\d-") as caught:
        RunLock(tmp_path, notify=print)
    assert time.monotonic() - start < 2
    assert caught.value.exit_code == 5
    process.stdin.close()
    process.stdout.close()
    assert process.wait(timeout=60) == 0


def test_t09_the_lock_of_a_killed_process_is_taken_over_with_a_notice(tmp_path: Path) -> None:
    process = hold(tmp_path)
    assert process.stdout.readline() == "mine\n"
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=60)
    process.stdin.close()
    process.stdout.close()
    told: list[str] = []
    RunLock(tmp_path, notify=told.append).release()
    assert len(told) == 1
    assert f"process {process.pid} on " in told[0]
    assert "ended without giving the lock back" in told[0]
    RunLock(tmp_path, notify=told.append).release()
    assert len(told) == 1


def test_a_lock_excludes_its_own_process_too(tmp_path: Path) -> None:
    lock = RunLock(tmp_path, notify=print)
    with pytest.raises(LockedError):
        RunLock(tmp_path, notify=print)
    lock.release()
    RunLock(tmp_path, notify=print).release()


def test_a_spoilt_note_does_not_matter(tmp_path: Path) -> None:
    told: list[str] = []
    for text in ("", "[]", "{", '"x"'):
        (tmp_path / ".lock.json").write_text(text)
        RunLock(tmp_path, notify=told.append).release()
    assert told == []
