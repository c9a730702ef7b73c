"""What this machine is, as far as speed and numbers depend on it: for `regard doctor` and for bug reports."""

import ctypes.util
import os
import platform
import shutil
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

import torch

from regard.training.memory import available_memory, machine_memory, memory_limit
from regard.training.numerics import available_cores, has_bfloat16

PACKAGES = (
    "regard",
    "torch",
    "numpy",
    "safetensors",
    "sentencepiece",
    "sacrebleu",
    "pydantic",
    "zstandard",
    "typer",
    "rich",
    "matplotlib",
)

_BF16_FLAGS = ("avx512_bf16", "amx_bf16", "bf16", "svebf16")

_WAITING = {
    "passive": "sleep (OMP_WAIT_POLICY=active: spin, faster on a machine with nothing else to do)",
    "active": "spin (OMP_WAIT_POLICY=passive: sleep, faster beside other work)",
}

# Libraries that people put before the system's allocator, as they are called in a process.
_ALLOCATORS = ("tcmalloc", "tcmalloc_minimal", "jemalloc", "mimalloc")


class Environment(NamedTuple):
    """Facts by name. Memory and disk are in bytes, None where the system does not say."""

    versions: dict[str, str | None]
    processor: dict[str, str | int | bool]
    devices: list[dict[str, str | int | bool]]
    memory: dict[str, int | None]
    disk: dict[str, dict[str, str | int]]


def look_around(folders: dict[str, Path]) -> Environment:
    """The facts about this machine, and the room on the disks of `folders` (by name)."""
    return Environment(_versions(), _processor(), _devices(), _memory(), _disk(folders))


def _versions() -> dict[str, str | None]:
    found: dict[str, str | None] = {"python": platform.python_version(), "system": platform.platform()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


def _processor() -> dict[str, str | int | bool]:
    facts = _facts_of("/proc/cpuinfo")
    flags = (facts.get("flags") or facts.get("Features") or "").split()
    return {
        "model": facts.get("model name") or platform.processor() or platform.machine(),
        "cores": available_cores(),
        "cores of the machine": os.cpu_count() or 1,
        "torch threads": torch.get_num_threads(),
        "memory allocator": _allocator(),
        "waiting threads": _WAITING.get(os.environ.get("OMP_WAIT_POLICY", "").lower(), "as OpenMP has it"),
        "vector instructions": torch.backends.cpu.get_cpu_capability(),
        "bfloat16 instructions": ", ".join(flag for flag in _BF16_FLAGS if flag in flags) or "none",
        "bfloat16 in hardware": has_bfloat16(torch.device("cpu")),
    }


def _allocator(maps: Path = Path("/proc/self/maps")) -> str:
    """Who hands out main memory, and who would be faster at it."""
    if not maps.exists():
        return "the system's"
    loaded = maps.read_text(encoding="utf-8", errors="replace")
    for name in _ALLOCATORS:
        if f"/lib{name}.so" in loaded:
            return name
    installed = ctypes.util.find_library("tcmalloc_minimal") or ctypes.util.find_library("tcmalloc")
    how = f"LD_PRELOAD={installed}" if installed else "tcmalloc, of Debian's libtcmalloc-minimal4"
    return f"the system's (in bfloat16 on a processor training is up to a quarter faster with {how})"


def _devices() -> list[dict[str, str | int | bool]]:
    found: list[dict[str, str | int | bool]] = []
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        device = torch.device("cuda", index)
        found.append(
            {
                "device": str(device),
                "name": properties.name,
                "memory": properties.total_memory,
                "bfloat16 in hardware": has_bfloat16(device),
            }
        )
    if torch.backends.mps.is_available():
        found.append({"device": "mps", "name": platform.processor() or "Apple"})
    return found


def _memory() -> dict[str, int | None]:
    """Of the machine in all; what may still be taken, in a container less; the container's limit."""
    return {"total": machine_memory().get("MemTotal"), "available": available_memory(), "limit": memory_limit()}


def _disk(folders: dict[str, Path]) -> dict[str, dict[str, str | int]]:
    found: dict[str, dict[str, str | int]] = {}
    for name, folder in folders.items():
        existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
        found[name] = {"folder": str(folder), "free": shutil.disk_usage(existing).free}
    return found


def _facts_of(path: str) -> dict[str, str]:
    """The first value of each `key: value` of a file that the kernel writes; none where there is no such file."""
    facts: dict[str, str] = {}
    for line in _read(path).splitlines():
        key, colon, value = line.partition(":")
        if colon:
            facts.setdefault(key.strip(), value.strip())
    return facts


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
