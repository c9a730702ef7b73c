import ctypes.util
import json
import math

import pytest
import torch

import regard.pipelines.self_test
from regard.cli.main import run
from regard.pipelines import environment
from regard.pipelines.environment import look_around
from regard.pipelines.self_test import self_test

CPU = torch.device("cpu")


def doctor(capsys, *arguments):
    """Exit code, standard output and standard error."""
    code = run(["doctor", "--device", "cpu", "--seconds", "0.1", *arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_a_healthy_machine_exits_0_and_says_what_it_is(capsys):
    code, out, err = doctor(capsys)

    assert (code, err) == (0, "")
    for fact in ("python ", f"torch                  {torch.__version__}", "cores", "bfloat16", "available", "free"):
        assert fact in out
    assert out.count("  ok      ") == 5
    assert "FAILED" not in out


def test_json_is_one_object_with_every_fact_and_check(capsys):
    code, out, _ = doctor(capsys, "--json")

    report = json.loads(out)
    assert code == 0
    assert out.count("\n") == 1
    assert report["versions"]["torch"] == torch.__version__
    assert report["processor"]["cores"] >= 1
    assert report["memory"]["total"] > report["memory"]["available"] > 0
    assert report["disk"]["working folder"]["free"] > 0
    assert all(check["passed"] for check in report["checks"])


@pytest.mark.parametrize(
    ("policy", "expected"),
    [("passive", "sleep"), ("ACTIVE", "spin"), ("", "as OpenMP has it"), (None, "as OpenMP has it")],
)
def test_how_threads_wait_is_what_openmp_was_told(monkeypatch, policy, expected):
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    if policy is not None:
        monkeypatch.setenv("OMP_WAIT_POLICY", policy)
    assert str(look_around({}).processor["waiting threads"]).startswith(expected)


@pytest.mark.parametrize(
    ("loaded", "installed", "expected"),
    [
        ("7f r-xp 00 08:01 5 /usr/lib/libtcmalloc_minimal.so.4.5.10", None, "tcmalloc_minimal"),
        ("7f r-xp 00 08:01 5 /usr/lib/libjemalloc.so.2", "libtcmalloc_minimal.so.4", "jemalloc"),
        ("7f r-xp 00 08:01 5 /usr/lib/libc.so.6", "libtcmalloc_minimal.so.4", "LD_PRELOAD=libtcmalloc_minimal.so.4)"),
        ("7f r-xp 00 08:01 5 /usr/lib/libc.so.6", None, "Debian's libtcmalloc-minimal4)"),
    ],
    ids=["tcmalloc in use", "jemalloc in use", "tcmalloc at hand", "none"],
)
def test_who_hands_out_memory_and_who_would_be_faster(loaded, installed, expected, tmp_path, monkeypatch):
    maps = tmp_path / "maps"
    maps.write_text(f"55 r-xp 00 08:01 4 /usr/bin/python3\n{loaded}\n")
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: installed)
    assert environment._allocator(maps).endswith(expected)


def test_a_system_that_does_not_tell_its_libraries_has_its_own_allocator(tmp_path):
    assert environment._allocator(tmp_path / "maps") == "the system's"


def test_a_failed_check_exits_1_and_the_others_still_run(capsys, monkeypatch):
    def broken(device):
        raise RuntimeError("no kernel image\nis available")

    monkeypatch.setattr(regard.pipelines.self_test, "_train", broken)
    code, out, _ = doctor(capsys)

    assert code == 1
    assert "  FAILED  training lowers the loss: no kernel image\n" in out
    assert out.count("  ok      ") == 4


def test_a_step_that_differs_from_teacher_forcing_is_noticed(monkeypatch):
    build = regard.pipelines.self_test._model

    def with_a_bug(device):
        model = build(device)
        step = model.step

        def shifted(state, tokens):
            logits, state = step(state, tokens)
            return logits + 0.01, state

        model.step = shifted
        return model

    monkeypatch.setattr(regard.pipelines.self_test, "_model", with_a_bug)
    check = next(self_test(CPU, seconds=0.1))

    assert not check.passed
    assert "the logits differ by" in check.detail


@pytest.mark.parametrize("precision", ["highest", "medium"])
def test_the_self_test_leaves_torch_as_it_was(precision):
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    torch.manual_seed(7)
    try:
        random = torch.get_rng_state()
        for _ in self_test(CPU, seconds=0.1):
            assert torch.get_float32_matmul_precision() == precision
            assert torch.equal(torch.get_rng_state(), random)
    finally:
        torch.set_float32_matmul_precision(before)


def test_folders_that_do_not_exist_yet_are_on_a_disk(tmp_path):
    free = look_around({"later": tmp_path / "not" / "yet"}).disk["later"]["free"]

    assert isinstance(free, int)
    assert 0 < free < math.inf


def test_an_unknown_device_is_one_sentence_and_exits_2(capsys):
    assert run(["doctor", "--device", "abacus"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_help_opens_with_an_example(capsys):
    code, out, _ = doctor(capsys, "--help")

    assert code == 0
    assert "Example:\n\n    regard doctor\n" in out
