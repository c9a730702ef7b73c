"""How much memory there is: of the machine, or of the container that it is shared out by."""

from collections.abc import Iterator
from pathlib import Path

import torch

# Version 1 of control groups writes "no limit" as the largest multiple of a page.
_NO_LIMIT = 1 << 60


def free_memory(device: torch.device) -> int | None:
    """Bytes that this process may still take on `device`; None where the system does not say."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return available_memory()


def available_memory(root: Path = Path("/")) -> int | None:
    """Bytes of main memory that this process may still take: of the machine, swap included, or less in a container."""
    facts = machine_memory(root)
    rooms = [limit - used for limit, used in _limits(root)]
    if "MemAvailable" in facts:
        rooms.append(facts["MemAvailable"] + facts.get("SwapFree", 0))
    return max(0, min(rooms)) if rooms else None


def memory_limit(root: Path = Path("/")) -> int | None:
    """The most bytes that the control groups of this process allow, if they set a limit."""
    return min((limit for limit, _ in _limits(root)), default=None)


def machine_memory(root: Path = Path("/")) -> dict[str, int]:
    """What the kernel says of the machine's memory, in bytes by its own names."""
    lines = (line.split() for line in _read(root / "proc/meminfo").splitlines())
    return {words[0].rstrip(":"): int(words[1]) * 1024 for words in lines if words[1:] and words[1].isdecimal()}


def _limits(root: Path) -> Iterator[tuple[int, int]]:
    """Limit and use of every control group that this process is in, from its own up."""
    for line in _read(root / "proc/self/cgroup").splitlines():
        number, controllers, path = line.split(":", 2)
        if number == "0":
            mount, names = root / "sys/fs/cgroup", ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            mount = root / "sys/fs/cgroup/memory"
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        # Inside a container the path may be that of the machine outside, of which only the mount is seen here.
        group = mount / path.strip("/")
        for folder in [each for each in (group, *group.parents) if each == mount or mount in each.parents]:
            limit, used = _read(folder / names[0]).strip(), _read(folder / names[1]).strip()
            if limit.isdecimal() and used.isdecimal() and int(limit) < _NO_LIMIT:
                yield int(limit), int(used) - _cached(folder, names[2])


def _cached(folder: Path, name: str) -> int:
    """Files that the kernel holds in memory until somebody needs the room."""
    for line in _read(folder / "memory.stat").splitlines():
        key, _, value = line.partition(" ")
        if key == name and value.strip().isdecimal():
            return int(value)
    return 0


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
