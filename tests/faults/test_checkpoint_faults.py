"""Whatever happens while a checkpoint is written, the last one that was published stays and loads."""

import errno
import os
import random
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from faulty_storage import FailingStorage, ForgettingStorage, Killed, KillingStorage, WatchedStorage, lay_out

from regard.checkpoint.checkpoints import CHECKPOINTS, Checkpoints
from regard.checkpoint.manifest import verify
from regard.checkpoint.publish import sweep, write_folder
from regard.checkpoint.run_folder import RunFolder
from regard.checkpoint.storage import Storage
from regard.errors import UserError


def quiet(message: str) -> None:
    pass


def publish(run: Path, step: int, storage: Storage) -> None:
    weights = {"weight": torch.full((3,), float(step))}
    checkpoints = Checkpoints(run, keep_last=1, notify=quiet, storage=storage)
    checkpoints.publish(step, weights, {"moment": torch.full((2,), step)}, {"place": step}, score=float(-step))


def new_run(path: Path) -> Path:
    (path / CHECKPOINTS).mkdir(parents=True)
    return path


def newest_step(run: Path) -> int:
    """The step of the newest intact checkpoint, or 0; its weights must be those of its step."""
    newest = Checkpoints(run, notify=quiet).newest()
    if not newest:
        return 0
    step = newest[0].step
    assert newest[0].model_state()["weight"].tolist() == [step] * 3
    assert newest[0].state()[1] == {"place": step}
    return step


def leftovers(run: Path) -> list[Path]:
    return [path for path in run.rglob("*") if ".tmp-" in path.name or path.name.startswith((".trash-", ".old-"))]


def test_c02_a_kill_at_any_operation_leaves_the_last_published_checkpoint(tmp_path: Path) -> None:
    points, published = 0, 0
    while published < 3:
        run, storage, published = new_run(tmp_path / str(points)), KillingStorage(points), 0
        try:
            for step in (1, 2, 3):
                publish(run, step, storage)
                published = step
        except Killed:
            points += 1
        with RunFolder.create_or_open(run, notify=quiet):
            assert newest_step(run) >= published
            assert leftovers(run) == []
            for _, folder in Checkpoints(run, notify=quiet).folders():
                verify(folder)
    assert points >= 60  # three publications of three files, a manifest and hints; and one removal


def test_c03_a_power_cut_at_any_operation_leaves_the_last_published_checkpoint(tmp_path: Path) -> None:
    storage = ForgettingStorage(tmp_path / "disk")
    (tmp_path / "disk").mkdir()
    for folder in (storage.root / "run", storage.root / "run" / CHECKPOINTS):
        storage.make_folder(folder)
        storage.sync_folder(folder.parent)
    for step in (1, 2, 3, 4):
        publish(storage.root / "run", step, storage)
        storage.note = step
    seen = set()
    for number, (published, image) in enumerate(storage.moments):
        key = (published, tuple(sorted(image.items(), key=lambda item: item[0])))
        if key in seen:
            continue
        seen.add(key)
        lay_out(image, tmp_path / str(number))
        if (run := tmp_path / str(number) / "run").is_dir():
            sweep_all(run)
        assert newest_step(run) >= published, f"after operation {number // 6} of {storage.operations}"
    assert len(seen) > 100


def sweep_all(run: Path) -> None:
    for folder in (run, run / CHECKPOINTS):
        if folder.is_dir():
            sweep(folder, notify=quiet)


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EROFS])
def test_c05_an_error_at_any_operation_is_told_and_the_old_checkpoint_stays(tmp_path: Path, code: int) -> None:
    for at in range(16):  # the operations of `write_folder`: folder, three files of four calls, flushes, rename
        run = new_run(tmp_path / str(at))
        publish(run, 1, WatchedStorage())
        storage = FailingStorage(at, code)
        with pytest.raises(UserError) as caught:
            publish(run, 2, storage)
        assert "step-00000002: not written" in str(caught.value), storage.operations
        assert os.strerror(code) in str(caught.value)
        assert "bytes needed" in str(caught.value)
        assert "bytes free" in str(caught.value)
        assert newest_step(run) == (2 if "sync_folder checkpoints" in storage.operations[at] else 1)
        assert leftovers(run) == []


def test_c05_a_disk_that_stays_full_leaves_nothing_behind(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run")
    publish(run, 1, WatchedStorage())
    with pytest.raises(UserError, match="No space left"):
        publish(run, 2, FailingStorage(5, errno.ENOSPC, once=False))
    assert leftovers(run) == []
    assert newest_step(run) == 1


def test_an_error_while_hints_are_written_does_not_fail_the_checkpoint(tmp_path: Path) -> None:
    run, told = new_run(tmp_path / "run"), []
    storage = WatchedStorage()
    publish(run, 1, storage)
    first = storage.operations.index("sync_folder checkpoints") + 1
    hints = Checkpoints(run, notify=told.append, storage=FailingStorage(first, once=False))
    hints.publish(2, {"weight": torch.full((3,), 2.0)}, {"moment": torch.zeros(2)}, {"place": 2}, score=1.0)
    assert newest_step(run) == 2
    assert any("latest" in message for message in told)


def test_c04_a_disk_without_space_is_noticed_before_anything_is_written(tmp_path: Path) -> None:
    class FullStorage(WatchedStorage):
        def free_bytes(self, path: Path) -> int:
            return 1000

    storage = FullStorage()
    with pytest.raises(UserError, match=r"model: not written: .*1,000,000 bytes needed, 1,000 bytes free"):
        write_folder(tmp_path / "model", {"a": b"x" * 1_000_000}, storage=storage)
    assert storage.operations == []


def test_c04_a_file_size_limit_is_told_and_the_old_checkpoint_stays(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run")
    publish(run, 1, Storage())
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(UserError, match="File too large"):
            Checkpoints(run, notify=quiet).publish(2, {"weight": torch.zeros(5000)}, {}, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert newest_step(run) == 1
    assert leftovers(run) == []


def test_replacing_a_folder_survives_a_kill_at_any_operation(tmp_path: Path) -> None:
    at, finished = 0, False
    while not finished:
        parent = tmp_path / str(at)
        parent.mkdir()
        write_folder(parent / "model", {"weights": b"old"}, storage=WatchedStorage())
        try:
            write_folder(parent / "model", {"weights": b"new"}, replace=True, storage=KillingStorage(at))
            finished = True
        except Killed:
            at += 1
        sweep(parent, notify=quiet)
        verify(parent / "model")
        assert (parent / "model" / "weights").read_bytes() in (b"old", b"new")
        assert leftovers(parent) == []
    assert at >= 12


def test_a_replacement_that_cannot_take_its_place_gives_the_old_folder_its_name_back(tmp_path: Path) -> None:
    write_folder(tmp_path / "model", {"weights": b"old"}, storage=WatchedStorage())
    counting = WatchedStorage()
    write_folder(tmp_path / "other", {"weights": b"old"}, storage=counting)
    second_rename = next(n for n, text in enumerate(counting.operations) if text.startswith("rename")) + 1
    with pytest.raises(UserError):
        write_folder(tmp_path / "model", {"weights": b"new"}, replace=True, storage=FailingStorage(second_rename))
    verify(tmp_path / "model")
    assert (tmp_path / "model" / "weights").read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "other"]


def test_a_signal_between_the_two_renames_leaves_the_old_folder(tmp_path: Path) -> None:
    class Terminated(Storage):
        def rename(self, old: Path, new: Path) -> None:
            super().rename(old, new)
            if new.name.startswith(".old-"):
                raise SystemExit(128 + signal.SIGTERM)  # as `main` makes of the signal

    write_folder(tmp_path / "model", {"weights": b"old"})
    with pytest.raises(SystemExit):
        write_folder(tmp_path / "model", {"weights": b"new"}, replace=True, storage=Terminated())
    assert (tmp_path / "model" / "weights").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


WRITER = """
import sys
from pathlib import Path
from regard.checkpoint.publish import write_folder
for step in range(1, 10_000):
    write_folder(Path(sys.argv[1]) / f"step-{step:08d}", {"a": b"%d" % step * 9999, "b": b"x" * 300_000})
    print(step, flush=True)
"""


def test_c01_a_killed_process_leaves_every_checkpoint_that_it_reported(tmp_path: Path) -> None:
    chance = random.Random(1)
    for trial in range(6):
        run = tmp_path / str(trial)
        run.mkdir()
        with subprocess.Popen([sys.executable, "-c", WRITER, str(run)], stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            for _ in range(chance.randint(1, 5)):
                assert child.stdout.readline()
            for _ in range(chance.randint(0, 200_000)):
                pass  # somewhere inside the next publication
            child.send_signal(signal.SIGKILL)
            reported = child.stdout.read().split()
        sweep(run, notify=quiet)
        assert leftovers(run) == []
        steps = sorted(path.name for path in run.iterdir())
        for name in steps:
            verify(run / name)
        assert not reported or f"step-{int(reported[-1]):08d}" in steps


def test_only_leftovers_of_our_own_are_swept(tmp_path: Path) -> None:
    names = ["notes.tmp-old", ".trash-can", "step-00000001", ".trash-00c0ffee-x", "a.tmp-my-host-123-00c0ffee"]
    for name in names:
        (tmp_path / name).mkdir()
    sweep(tmp_path, notify=quiet)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".trash-can", "notes.tmp-old", "step-00000001"]


def test_c10_permissions_follow_the_umask(tmp_path: Path) -> None:
    for mask in (0o022, 0o077):
        old = os.umask(mask)
        try:
            write_folder(tmp_path / oct(mask), {"weights": b"1"})
        finally:
            os.umask(old)
        for path in (tmp_path / oct(mask)).iterdir():
            assert path.stat().st_mode & 0o777 == 0o666 & ~mask
        assert (tmp_path / oct(mask)).stat().st_mode & 0o777 == 0o777 & ~mask
