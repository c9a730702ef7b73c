"""Our safetensors are those of the library, and a hostile header is refused with one line, in little memory."""

import contextlib
import json
import struct
import time
import tracemalloc
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save

from regard.checkpoint.weights import Tensors, read_tensors, refuse_executable
from regard.errors import ModelError

PATH = Path("model.safetensors")
TYPES = [
    torch.float64,
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int32,
    torch.int16,
    torch.int8,
    torch.uint8,
    torch.bool,
]


def content(tensors: dict[str, torch.Tensor], **options: object) -> bytes:
    stored = Tensors(tensors, **options)
    result = b"".join(map(bytes, stored.chunks()))
    assert len(result) == stored.size
    return result


def file(header: object, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def tensor(dtype: object = "F32", shape: object = (2,), offsets: object = (0, 8)) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def test_every_type_and_shape_comes_back_and_the_library_agrees() -> None:
    torch.manual_seed(0)
    tensors = {}
    for dtype in TYPES:
        for shape in ((), (1,), (3,), (2, 3), (0,), (4, 0, 2)):
            tensors[f"{dtype}{list(shape)}"] = (torch.rand(shape) * 100).to(dtype)
    tensors["transposed"] = torch.arange(6.0).reshape(2, 3).t()
    tensors["slice"] = torch.arange(10)[3:7]
    for back in (read_tensors(PATH, content(tensors)), load(content(tensors))):
        assert set(back) == set(tensors)
        for name, expected in tensors.items():
            assert back[name].dtype == expected.dtype, name
            assert torch.equal(back[name], expected), name


def test_files_of_the_library_are_read_aligned_or_not() -> None:
    tensors = {"a": torch.arange(3, dtype=torch.uint8), "b": torch.arange(4.0), "c": torch.tensor([True, False])}
    for name, expected in tensors.items():
        assert torch.equal(read_tensors(PATH, save(tensors))[name], expected)
    crooked = file({"a": tensor("U8", [1], [0, 1]), "b": tensor("F32", [2], [1, 9])}, b"\7" + struct.pack("<2f", 1, 2))
    assert read_tensors(PATH, crooked)["b"].tolist() == [1, 2]


def test_tensors_that_share_all_their_memory_are_stored_once() -> None:
    table = torch.arange(6.0)
    names = {"first": table, "second": table, "view": table.view(2, 3), "part": table[:3], "copy": table.clone()}
    assert sorted(read_tensors(PATH, content(names))) == ["copy", "first", "part", "view"]


def test_two_empty_tensors_are_not_one() -> None:
    assert sorted(read_tensors(PATH, content({"a": torch.empty(0), "b": torch.empty(0)}))) == ["a", "b"]


HOSTILE = {
    "empty": b"",
    "seven bytes": bytes(7),
    "length 2^63": struct.pack("<Q", 1 << 63) + b"{}",
    "length 2^64 - 1": b"\xff" * 8 + b"{}",
    "length beyond the end": struct.pack("<Q", 100) + b"{}",
    "no JSON": file(b"\x93\x94\x95"),
    "a list": file([1, 2]),
    "a number": file(7),
    "deep": file(b"[" * 100_000),
    "metadata only in part": file(b'{"__metadata__": {'),
    "nothing of a huge number": file({"a": tensor(shape=[2**63, 0], offsets=[0, 0])}),
    "type of another trade": file({"a": tensor("F8_E4M3", [8])}, bytes(8)),
    "type unknown to torch": file({"a": tensor("F4", [16])}, bytes(8)),
    "long name": file({"a\n" * 1000: tensor("C64", [1])}, bytes(8)),
    "unknown type": file({"a": tensor("C128")}, bytes(8)),
    "type is a list": file({"a": tensor(["F32"])}, bytes(8)),
    "negative offset": file({"a": tensor(offsets=[-8, 0])}, bytes(8)),
    "overlap": file({"a": tensor(), "b": tensor(offsets=[4, 12])}, bytes(12)),
    "hole": file({"a": tensor(), "b": tensor(offsets=[12, 20])}, bytes(20)),
    "beyond the end": file({"a": tensor(offsets=[0, 8], shape=[2]), "b": tensor(offsets=[8, 16])}, bytes(8)),
    "bytes to spare": file({"a": tensor()}, bytes(9)),
    "shape too small": file({"a": tensor(shape=[1])}, bytes(8)),
    "shape too large": file({"a": tensor(shape=[2**62, 2**62])}, bytes(8)),
    "shape overflow": file({"a": tensor(shape=[2**32, 2**32, 2**32])}, bytes(8)),
    "negative shape": file({"a": tensor(shape=[-1, -2])}, bytes(8)),
    "fractional shape": file({"a": tensor(shape=[2.0])}, bytes(8)),
    "boolean shape": file({"a": tensor(shape=[True], offsets=[0, 4])}, bytes(4)),
    "shape is text": file({"a": tensor(shape="2")}, bytes(8)),
    "three offsets": file({"a": tensor(offsets=[0, 4, 8])}, bytes(8)),
    "no entry": file({"a": None}, bytes(8)),
    "long number": file(b'{"a": {"dtype": "F32", "shape": [' + b"9" * 5000 + b'], "data_offsets": [0, 8]}}', bytes(8)),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_l04_a_hostile_header_is_refused_in_one_line_and_little_memory(name: str) -> None:
    tracemalloc.start()
    start = time.process_time()
    with pytest.raises(ModelError) as caught:
        read_tensors(PATH, HOSTILE[name])
    assert time.process_time() - start < 1
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("model.safetensors: ")
    assert len(str(caught.value)) < 400


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_l07_any_bytes_are_tensors_or_a_model_error(data: bytes) -> None:
    for candidate in (data, file(data), file({"a": tensor(shape=[len(data)], dtype="U8")}, data)):
        with contextlib.suppress(ModelError):
            read_tensors(PATH, candidate)


@pytest.mark.parametrize("name", ["a.pt", "a.BIN", "a.pkl", "a.ckpt", "a.npz"])
def test_names_of_pickles_are_refused_without_a_look(name: str) -> None:
    with pytest.raises(ModelError, match="was not opened"):
        refuse_executable(Path(name), b"")


@pytest.mark.parametrize("second", [2, 3, 4, 5])
def test_a_header_whose_length_looks_like_a_pickle_is_one_of_safetensors(second: int) -> None:
    """Its length is the file's first eight bytes: 1,408 reads 80 05, as the fifth protocol of pickle does."""
    header = json.dumps({"a": tensor()}).encode().ljust(0x80 + 256 * second)
    content = file(header, bytes(8))
    assert content[:2] == bytes([0x80, second])
    assert list(read_tensors(PATH, content)) == ["a"]
    with pytest.raises(ModelError, match="was not opened"):
        refuse_executable(Path("model.other"), content)


@given(
    st.dictionaries(
        st.text(max_size=5), st.lists(st.integers(0, 3), max_size=3).map(lambda shape: torch.ones(shape)), max_size=5
    )
)
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_names_and_shapes_come_back(tensors: dict[str, torch.Tensor]) -> None:
    tensors.pop("__metadata__", None)
    back = read_tensors(PATH, content(tensors))
    assert {name: value.shape for name, value in back.items()} == {name: t.shape for name, t in tensors.items()}
