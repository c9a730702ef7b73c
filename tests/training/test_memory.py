"""How much memory may be taken, read from files as the kernel writes them."""

from pathlib import Path

import pytest

from regard.training.memory import available_memory, machine_memory, memory_limit

MEBI = 1 << 20
MACHINE = {"proc/meminfo": "MemTotal: 8192 kB\nMemAvailable:    4096 kB\nSwapFree: 1024 kB\nHugePages_Total:  0\n"}


def system(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_without_a_container_it_is_the_machines_with_swap(tmp_path):
    root = system(tmp_path, MACHINE | {"proc/self/cgroup": "0::/user.slice\n", "sys/fs/cgroup/user.slice/x": ""})
    assert available_memory(root) == 5 * MEBI
    assert memory_limit(root) is None
    assert machine_memory(root)["MemTotal"] == 8 * MEBI


def test_a_system_that_says_nothing_is_not_guessed_at(tmp_path):
    assert available_memory(tmp_path) is None
    assert memory_limit(tmp_path) is None


@pytest.mark.parametrize(
    ("line", "folder", "names"),
    [
        ("0::/a/b", "sys/fs/cgroup/a/b", ("memory.max", "memory.current", "inactive_file")),
        ("0::/a/b", "sys/fs/cgroup/a", ("memory.max", "memory.current", "inactive_file")),
        ("0::/outside/the/container", "sys/fs/cgroup", ("memory.max", "memory.current", "inactive_file")),
        (
            "4:cpu,memory:/docker/1",
            "sys/fs/cgroup/memory",
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ),
    ],
)
def test_a_container_has_its_limit_less_what_is_used_and_not_mere_files(tmp_path, line, folder, names):
    limit, used, cached = names
    files = {f"{folder}/{limit}": f"{3 * MEBI}\n", f"{folder}/{used}": f"{2 * MEBI}\n"}
    root = system(tmp_path, MACHINE | files | {"proc/self/cgroup": f"1:name=systemd:/\n{line}\n"})
    assert available_memory(root) == MEBI
    system(tmp_path, {f"{folder}/memory.stat": f"anon 5\n{cached} {MEBI // 2}\n"})
    assert available_memory(root) == MEBI + MEBI // 2
    assert memory_limit(root) == 3 * MEBI


@pytest.mark.parametrize("unlimited", ["max", str((1 << 63) - 4096)])
def test_a_container_without_a_limit_is_no_container(tmp_path, unlimited):
    version = {"max": ("", "memory.max", "memory.current")}.get(
        unlimited, ("/memory", "memory.limit_in_bytes", "memory.usage_in_bytes")
    )
    files = {f"sys/fs/cgroup{version[0]}/{version[1]}": unlimited, f"sys/fs/cgroup{version[0]}/{version[2]}": "5"}
    root = system(tmp_path, MACHINE | files | {"proc/self/cgroup": "0::/\n2:memory:/\n"})
    assert available_memory(root) == 5 * MEBI
    assert memory_limit(root) is None


def test_more_than_the_limit_in_use_leaves_nothing(tmp_path):
    files = {"sys/fs/cgroup/memory.max": "1000", "sys/fs/cgroup/memory.current": "1001"}
    assert available_memory(system(tmp_path, MACHINE | files | {"proc/self/cgroup": "0::/\n"})) == 0
