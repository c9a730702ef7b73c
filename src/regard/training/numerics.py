"""The one place which sets up the machine: matrix products, number formats, memory, threads, determinism."""

import ctypes
import os
import platform
import sys
from pathlib import Path
from typing import Literal, NamedTuple

import torch

from regard.errors import UsageError
from regard.training.memory import available_memory

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

Precision = Literal["auto", "fp32", "bf16"]

# Parameters of glibc's mallopt (malloc.h).
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3
_KERNEL_BYTES = 3 << 18  # of one of oneDNN's with all that belongs to it, as measured with AMX


class Machine(NamedTuple):
    """What `set_up_machine` found and chose; for the run card."""

    threads: int
    matrix_products: str
    keeps_memory: bool
    deterministic: bool


def set_up_machine(*, threads: int | None = None, deterministic: bool = True) -> Machine:
    """Prepare this process for training; changes settings of torch and of the allocator for good.

    With the same build, the same number of threads and the same seed, training then repeats bit for bit.
    """
    torch.set_num_threads(threads or available_cores())
    if deterministic and torch.cuda.is_available():
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
        # An aid to find bugs, at the price of one more kernel a tensor.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        torch.backends.cudnn.benchmark = False
    plan_nothing_by_shape()
    keep_kernels()
    return Machine(torch.get_num_threads(), choose_matrix_products(), keep_memory(), deterministic)


def set_up_inference(device: str, *, threads: int | None = None) -> str:
    """Prepare this process for using models with so many threads; the name of the device that `device` means here.

    Raises:
        UsageError: there is no such device here.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    keep_memory()
    keep_kernels()
    plan_nothing_by_shape()
    return str(choose_device(device))


def plan_nothing_by_shape() -> None:
    """Leave attention on a GPU to kernels that take any shape at once.

    cuDNN plans its attention anew for every shape, which costs some tenths of a second, and no two batches of
    sentences have the same: a step of a small Transformer took ten times as long.
    """
    if torch.cuda.is_available():
        torch.backends.cuda.enable_cudnn_sdp(False)


def available_cores(quota: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """Cores that this process may use: those it is bound to, or fewer where a container's quota is less."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        share, period = quota.read_text().split()
        return cores if share == "max" else max(1, min(cores, int(share) // int(period)))
    except (OSError, ValueError):  # no control groups here
        return cores


def choose_matrix_products(processors: Path = Path("/proc/cpuinfo")) -> str:
    """Let float32 products use the fastest kernels that keep float32's accuracy; the setting chosen.

    "medium" selects oneDNN on CPUs, which on AMD processors is twice as fast as the default, MKL, and as
    accurate; on Intel's own MKL is faster (2 to 9 % of a training step, twice for small products). Where "medium"
    rounds to bfloat16 (CPUs that can) the check finds out and "highest" stays.
    On a GPU float32 means TensorFloat-32 products only if precision is lowered by hand: it stays exact.
    """
    if torch.cuda.is_available() or _is_intel(processors):
        torch.set_float32_matmul_precision("highest")
        return "highest"
    generator = torch.Generator().manual_seed(0)
    left, right = (torch.randn(256, 256, generator=generator) for _ in range(2))
    exact = left.double() @ right.double()
    torch.set_float32_matmul_precision("medium")
    error = float(((left @ right).double() - exact).abs().max() / exact.abs().max())
    # float32 leaves about 1e-6 here, bfloat16 2e-3.
    chosen = "medium" if error < 1e-5 else "highest"
    torch.set_float32_matmul_precision(chosen)
    return chosen


def _is_intel(processors: Path) -> bool:
    try:
        return "GenuineIntel" in processors.read_text()
    except OSError:  # not Linux; Windows tells the maker in this string
        return "GenuineIntel" in platform.processor()


def peak_memory() -> int:
    """The most bytes that this process has held so far: of a GPU where one is in use, else of main memory."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        return int(torch.cuda.max_memory_allocated())
    if resource is None:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else peak * 1024)  # bytes there, KiB elsewhere


def keep_memory() -> bool:
    """Tell glibc's allocator to keep freed memory for the next step; True where that worked.

    By default every big tensor is unmapped when freed, and each of its pages is faulted in anew and zeroed
    by the kernel on the next allocation: up to a third of the time of a training step on a CPU.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:  # not glibc
        return False
    settings = {_M_MMAP_THRESHOLD: 1 << 30, _M_TRIM_THRESHOLD: (1 << 31) - 1, _M_TOP_PAD: 1 << 26}
    return all(mallopt(parameter, value) == 1 for parameter, value in settings.items())


def keep_kernels() -> int:
    """Tell oneDNN to keep more of the kernels that it makes, before its first product; how many, by the memory here.

    oneDNN multiplies bfloat16 on a CPU, and float32 where "medium" is chosen. It makes a kernel for every shape of a
    product and keeps 1,024; an epoch of sentences has several thousand, and making the same ones anew took a sixth of
    a step. They may take a quarter of the memory. What the environment already says stays.
    """
    room = (available_memory() or 0) // 4 // _KERNEL_BYTES
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", str(max(1024, min(room, 4096))))
    return int(os.environ["ONEDNN_PRIMITIVE_CACHE_CAPACITY"])


def choose_device(name: str) -> torch.device:
    """The device called `name`; "auto" is the GPU where there is one.

    Raises:
        UsageError: there is no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError) as error:
        first = str(error).partition("\n")[0]
        raise UsageError(f"--device {name} cannot be used here: {first}; try auto or cpu") from None
    return device


def resolve_precision(precision: Precision, device: torch.device) -> Literal["fp32", "bf16"]:
    """The number format of the large products; "auto" takes bf16 where the device computes it natively."""
    if precision != "auto":
        return precision
    return "bf16" if has_bfloat16(device) else "fp32"


def has_bfloat16(device: torch.device) -> bool:
    """Whether `device` multiplies bfloat16 in hardware, so that it is faster and not only smaller."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return False


def autocast(precision: Literal["fp32", "bf16"], device: torch.device) -> torch.autocast:
    """The context in which forward pass and loss run. Parameters, gradients and optimizer stay in float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")
