"""What the choices in the recurrent models are worth, in CPU milliseconds: python benchmarks/recurrent.py.

Three tables: the additive score in blocks against all pairs at once; one step by the written equations against
torch's kernel for sequences; an encoder that packs against one that reads the padding. Best of several runs.
"""

import time
from collections.abc import Callable

import torch
from torch import Tensor

from regard.attention.additive import additive_scores
from regard.layers.recurrent import Recurrent, States


def milliseconds(function: Callable[[], object], runs: int = 7) -> float:
    """Of one thread; the least of `runs`."""
    times = []
    for _ in range(runs):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return 1e3 * min(times)


def trained(output: Callable[[], Tensor], *, bf16: bool) -> Callable[[], None]:
    """Forward and backward."""

    def run() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            result = output()
        result.float().sum().backward()

    return run


def additive(*, bf16: bool, rows: int = 204, queries: int = 20, keys: int = 24, size: int = 512) -> str:
    """A batch of 4,096 target tokens."""
    dtype = torch.bfloat16 if bf16 else torch.float32
    s = torch.randn(rows, 1, queries, size, dtype=dtype, requires_grad=True)
    h = torch.randn(rows, 1, keys, size, dtype=dtype, requires_grad=True)
    v = torch.randn(size, dtype=dtype, requires_grad=True)
    blocks = trained(lambda: additive_scores(s, h, v), bf16=bf16)
    at_once = trained(lambda: torch.tanh(s.unsqueeze(-2) + h.unsqueeze(-3)) @ v, bf16=bf16)
    return f"in blocks {milliseconds(blocks):.0f}, at once {milliseconds(at_once):.0f}"


def step(rows: int, *, bf16: bool) -> str:
    """An LSTM of 512 units that reads 768."""
    layer = Recurrent("lstm", 768, size=512)
    inputs, states = torch.randn(rows, 768), States(torch.randn(rows, 1, 512), torch.randn(rows, 1, 512))
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        equations = milliseconds(lambda: layer.step(inputs, states), 40)
        kernel = milliseconds(lambda: layer(inputs[:, None], states), 40)
    return f"equations {equations:.2f}, kernel {kernel:.2f}"


def encoder(*, bf16: bool, rows: int = 204, longest: int = 26) -> str:
    """A bidirectional LSTM of 2 x 256 units, 30 % padding."""
    layer, inputs = Recurrent("lstm", 256, size=256, bidirectional=True), torch.randn(rows, longest, 256)
    lengths = torch.randint(14, longest + 1, (rows,)).index_fill(0, torch.tensor([0]), longest)
    packed = milliseconds(trained(lambda: layer(inputs, lengths=lengths)[0], bf16=bf16))
    padded = milliseconds(trained(lambda: layer(inputs)[0], bf16=bf16))
    return f"packed {packed:.0f}, padding read as if it were words {padded:.0f}"


if __name__ == "__main__":
    torch.set_num_threads(1)
    for bf16 in (True, False):
        name = "bf16" if bf16 else "fp32"
        print(f"{name}: additive score, forward and backward: {additive(bf16=bf16)}")
        print(f"{name}: encoder, forward and backward: {encoder(bf16=bf16)}")
        for rows in (1, 5, 32, 160):
            print(f"{name}: one step of {rows} rows: {step(rows, bf16=bf16)}")
