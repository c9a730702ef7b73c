"""Tensors in the safetensors format: a length, a JSON header of names, types, shapes and places, then the numbers.

Files are read by the safetensors library, from the very bytes that were hashed. They are written by the few lines of
`Tensors`, because the library can only make the whole file in memory, twice (400 MB more for a file of 200 MB, and
2.1 times the CPU time): a run that just fits would end at its first checkpoint.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from regard.errors import ModelError

_TYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
# A pickle (protocol 2 or later), a zip (PyTorch's .pt) and a bare tar: all may carry code.
_EXECUTABLE_MAGIC = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"PK\x03\x04", b"PK\x05\x06")
EXECUTABLE_SUFFIXES = (".pt", ".pth", ".bin", ".pkl", ".pickle", ".ckpt", ".npy", ".npz", ".joblib", ".dill")


class Tensors:
    """Named tensors as a safetensors file (a `Content` of `write_folder`).

    Tensors that share all their memory (tied weights) are stored once, under the first of their names. The tensors
    are read while the file is written: whoever goes on training meanwhile must pass copies.
    """

    def __init__(self, tensors: Mapping[str, Tensor], *, dtype: torch.dtype | None = None) -> None:
        kept: dict[tuple[object, ...], str] = {}
        for name, tensor in tensors.items():
            kept.setdefault(_identity(name, tensor), name)
        # The widest types first: so every tensor starts at a multiple of its own width.
        chosen = [(name, _stored(tensors[name], dtype)) for name in kept.values()]
        self._tensors = dict(sorted(chosen, key=lambda item: (-item[1].itemsize, item[0])))
        self._dtype = dtype
        self._head = self._header()

    def _header(self) -> bytes:
        header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
        place = 0
        for name, tensor in self._tensors.items():
            end = place + tensor.numel() * tensor.itemsize
            header[name] = {"dtype": _TYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [place, end]}
            place = end
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        return len(text).to_bytes(8, "little") + text

    @property
    def size(self) -> int:
        """Length of the file in bytes."""
        return len(self._head) + sum(tensor.numel() * tensor.itemsize for tensor in self._tensors.values())

    @property
    def num_parameters(self) -> int:
        """How many numbers are stored; tied ones count once."""
        return sum(tensor.numel() for tensor in self._tensors.values())

    def chunks(self) -> Iterator[memoryview]:
        """The header, then the bytes of each tensor."""
        yield memoryview(self._head)
        for tensor in self._tensors.values():
            if tensor.numel() > 0:
                flat = tensor.detach().cpu().contiguous().reshape(-1)
                yield flat.view(torch.uint8).numpy().data


def _identity(name: str, tensor: Tensor) -> tuple[object, ...]:
    if tensor.numel() == 0:
        return (name,)  # empty tensors all live at address 0
    return (tensor.device, tensor.data_ptr(), tensor.dtype, tuple(tensor.shape), tensor.stride())


def _stored(tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
    return tensor.to(dtype) if dtype is not None and tensor.is_floating_point() else tensor


def refuse_executable(path: Path, content: bytes | None = None) -> None:
    """Accept the file `path` unless it is a pickle or an archive, by its name or by its first bytes.

    Raises:
        ModelError: it is one: such files can run code when they are opened, so they are not. Or it cannot be read.
    """
    if content is None:
        try:
            with path.open("rb") as file:
                content = file.read(9)
        except OSError as error:
            raise ModelError(f"{path}: cannot be read: {error.strerror}") from None
    # The length of a safetensors header may look like the start of a pickle; then a brace follows, and JSON is read.
    is_safetensors = path.suffix == ".safetensors" and content[8:9] == b"{"
    looks_executable = not is_safetensors and content[:8].startswith(_EXECUTABLE_MAGIC)
    if path.suffix.lower() in EXECUTABLE_SUFFIXES or looks_executable:
        raise ModelError(
            f"{path}: a pickle or archive, which can run code when it is opened, so it was not opened; "
            "regard reads only safetensors"
        )


def read_tensors(path: Path, content: bytes) -> dict[str, Tensor]:
    """The tensors of a safetensors file, given as its whole content: copies, which need no more memory than that.

    Raises:
        ModelError: the file is not safetensors, its header contradicts itself or the file's length, or it has a type
            of number that no model here has.
    """
    refuse_executable(path, content)
    try:
        tensors = safetensors.torch.load(content)
    except (SafetensorError, KeyError, RuntimeError, TypeError, ValueError) as error:  # all but the first are torch's
        first = str(error).partition("\n")[0]
        raise ModelError(f"{path}: not safetensors, or damaged: {first[:200]}") from None
    for name, tensor in tensors.items():
        if tensor.dtype not in _TYPES:
            raise ModelError(f"{path}: {name[:200]!r} has the type {tensor.dtype}, which no model here has")
    return tensors


def refuse_non_finite(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Accept `tensors` if all their numbers are finite.

    Raises:
        ModelError: one is NaN or infinite.
    """
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise ModelError(f"{path}: {name} holds NaN or infinite numbers; use an earlier checkpoint")
