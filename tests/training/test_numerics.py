import ctypes
import os
import subprocess
import sys

import pytest
import torch

from regard.errors import UsageError
from regard.training import numerics
from regard.training.numerics import (
    autocast,
    available_cores,
    choose_device,
    choose_matrix_products,
    has_bfloat16,
    keep_kernels,
    keep_memory,
    plan_nothing_by_shape,
    resolve_precision,
    set_up_inference,
    set_up_machine,
)

CPU = torch.device("cpu")


def test_products_stay_as_exact_as_float32_allows():
    choose_matrix_products()
    torch.manual_seed(1)
    left, right = torch.randn(300, 700), torch.randn(700, 200)
    exact = left.double() @ right.double()
    assert float(((left @ right) - exact).abs().max() / exact.abs().max()) < 5e-6


@pytest.mark.skipif(torch.cuda.is_available(), reason="GPUs stay at highest anyway")
def test_products_which_round_to_bfloat16_are_found_out(monkeypatch, tmp_path):
    (tmp_path / "cpuinfo").write_text("vendor_id\t: AuthenticAMD\n")
    honest = torch.Tensor.__matmul__

    def rounding(left, right):
        if left.dtype == torch.float32 and torch.get_float32_matmul_precision() == "medium":
            return honest(left.bfloat16(), right.bfloat16()).float()
        return honest(left, right)

    monkeypatch.setattr(torch.Tensor, "__matmul__", rounding)
    assert choose_matrix_products(tmp_path / "cpuinfo") == "highest"
    assert torch.get_float32_matmul_precision() == "highest"


@pytest.mark.skipif(torch.cuda.is_available(), reason="GPUs stay at highest anyway")
def test_intel_keeps_its_own_library_and_others_get_the_exact_one(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.Tensor, "__matmul__", lambda left, right: torch.mm(left.double(), right.double()))
    for maker, chosen in (("GenuineIntel", "highest"), ("AuthenticAMD", "medium")):
        (tmp_path / "cpuinfo").write_text(f"vendor_id\t: {maker}\n")
        assert choose_matrix_products(tmp_path / "cpuinfo") == chosen == torch.get_float32_matmul_precision()
    choose_matrix_products()


def test_attention_on_a_gpu_plans_nothing_by_shape(monkeypatch):
    before = torch.backends.cuda.cudnn_sdp_enabled()
    try:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        plan_nothing_by_shape()
        assert not torch.backends.cuda.cudnn_sdp_enabled()
    finally:
        torch.backends.cuda.enable_cudnn_sdp(before)


def test_precision_is_what_is_asked_for():
    assert resolve_precision("fp32", CPU) == "fp32"
    assert resolve_precision("bf16", CPU) == "bf16"
    assert resolve_precision("auto", CPU) == ("bf16" if has_bfloat16(CPU) else "fp32")


def test_bfloat16_is_native_only_where_the_processor_says_so(monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    assert not has_bfloat16(CPU)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True)
    assert has_bfloat16(CPU)
    assert not has_bfloat16(torch.device("meta"))


def test_autocast_reaches_products_but_not_parameters():
    layer, states = torch.nn.Linear(3, 3), torch.randn(2, 3)
    with autocast("bf16", CPU):
        assert layer(states).dtype == torch.bfloat16
    with autocast("fp32", CPU):
        assert layer(states).dtype == torch.float32
    assert layer.weight.dtype == torch.float32


def test_the_machine_is_described():
    machine = set_up_machine(threads=1)
    assert machine.threads == torch.get_num_threads() == 1
    assert machine.matrix_products == torch.get_float32_matmul_precision()
    assert set_up_machine().threads == available_cores()


@pytest.mark.parametrize(("text", "at_most"), [("100000 100000", 1), ("50000 100000", 1), ("max 100000", 10**6)])
def test_the_quota_of_a_container_limits_the_threads(text, at_most, tmp_path):
    (tmp_path / "cpu.max").write_text(text)
    assert 1 <= available_cores(tmp_path / "cpu.max") <= at_most
    assert available_cores(tmp_path / "none") == available_cores(tmp_path / "cpu.max") or at_most == 1


FAULTS = """
import resource, torch
from regard.training.numerics import keep_memory
torch.set_num_threads(1)
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.ones(1 << 22).sum()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(faults(), keep_memory(), faults())
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="not glibc")
def test_freed_memory_is_kept():
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, check=True, text=True)
    before, worked, after = done.stdout.split()
    assert worked == "True"
    assert int(after) * 4 < int(before)


@pytest.mark.parametrize(("memory", "number"), [(64 << 30, 4096), (6 << 30, 2048), (1 << 30, 1024), (None, 1024)])
def test_kernels_are_kept_as_the_memory_allows(memory, number, monkeypatch):
    monkeypatch.delenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", raising=False)
    monkeypatch.setattr(numerics, "available_memory", lambda: memory)
    assert keep_kernels() == number
    monkeypatch.setenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "77")
    assert keep_kernels() == 77


KERNELS = """
import torch
from regard.training.numerics import keep_kernels
kept, states, weight = keep_kernels(), torch.ones(1200, 64).bfloat16(), torch.ones(64, 64).bfloat16()
for _ in range(2):
    for rows in range(100, 1200):
        states[:rows] @ weight
print("kept", kept)
"""


def test_a_product_s_kernel_is_made_once():
    environment = {**os.environ, "ONEDNN_VERBOSE": "2", "OMP_NUM_THREADS": "1"}
    environment.pop("ONEDNN_PRIMITIVE_CACHE_CAPACITY", None)
    command = [sys.executable, "-c", KERNELS]
    done = subprocess.run(command, capture_output=True, check=True, text=True, env=environment)
    if "create:cache_hit" not in done.stdout or int(done.stdout.split()[-1]) < 1100:
        pytest.skip("oneDNN does not multiply bfloat16 here, or there is no memory for more kernels")
    assert done.stdout.count("create:cache_miss,cpu,matmul") == 1100


def test_models_are_used_with_the_threads_and_on_the_device_that_are_asked_for():
    assert set_up_inference("cpu", threads=1) == str(CPU)
    assert torch.get_num_threads() == 1
    with pytest.raises(UsageError, match="--device nonsense cannot be used here"):
        set_up_inference("nonsense")


def test_where_there_is_no_such_allocator_nothing_happens(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not keep_memory()


def test_a_device_that_is_not_here_is_named():
    with pytest.raises(UsageError, match="--device nonsense cannot be used here"):
        choose_device("nonsense")
    if not torch.cuda.is_available():
        with pytest.raises(UsageError, match="--device cuda cannot be used here"):
            choose_device("cuda")
