"""Explicit softmax or the fused kernel: where does which win? Decides `FUSED_FROM` in attention/attention.py.

    OMP_NUM_THREADS=1 python benchmarks/attention_paths.py --dtype bfloat16

Every row has 4,096 query tokens in all, 4 heads of 64; `step` is decoding: one query a row, 160 rows.
Times are milliseconds of the process's own CPU (of the clock on a GPU), the best of the interleaved rounds.
"""

import argparse
import time
from collections.abc import Callable

import torch

import regard.attention.attention as attention
from regard.attention.score import ScaledDotProduct

HEADS, HEAD_SIZE, TOKENS = 4, 64, 4096


def work(case: str, length: int, device: torch.device, dtype: torch.dtype, *, train: bool) -> Callable[[], None]:
    """One call of attention (and its backward pass), ready to be timed."""
    rows = 160 if case == "step" else max(1, TOKENS // length)
    queries = 1 if case == "step" else length

    def normal(size: int) -> torch.Tensor:
        return torch.randn(rows, HEADS, size, HEAD_SIZE, device=device, dtype=dtype, requires_grad=train)

    query, keys, values = normal(queries), normal(length), normal(length)
    module = attention.Attention(ScaledDotProduct(HEAD_SIZE, HEAD_SIZE), site="here").to(device)
    mask = None
    if case == "padding":
        mask = torch.arange(length, device=device) < torch.randint(length // 2, length + 1, (rows, 1), device=device)

    def once() -> None:
        context = module(query, module.remember(keys, values, mask), causal=case == "causal")
        if train:
            context.sum().backward()

    return once


def milliseconds(once: Callable[[], None], device: torch.device) -> float:
    """What one call costs."""
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    once()
    calls = 3
    if device.type == "cuda":
        torch.cuda.synchronize()
    start = clock()
    for _ in range(calls):
        once()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return (clock() - start) / calls * 1e3


def main() -> None:
    """Print one line a case and length."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--lengths", type=int, nargs="+", default=[8, 16, 32, 64, 128, 256, 512, 1024])
    options = parser.parse_args()
    device, dtype = torch.device(options.device), getattr(torch, options.dtype)
    can_fuse = attention.Attention._fused_is_better
    print(f"{'case':10}{'pass':10}{'keys':>6}{'explicit':>10}{'fused':>10}{'fused wins':>12}")
    for case in ("none", "padding", "causal", "step"):
        for train in (False, True) if case != "step" else (False,):
            for length in options.lengths:
                once = work(case, length, device, dtype, train=train)
                best = {False: float("inf"), True: float("inf")}
                for _ in range(options.rounds):
                    for fused in best:
                        attention.Attention._fused_is_better = lambda *_, fused=fused: fused
                        best[fused] = min(best[fused], milliseconds(once, device))
                attention.Attention._fused_is_better = can_fuse
                name = "train" if train else "forward"
                ratio = best[False] / best[True]
                print(f"{case:10}{name:10}{length:6}{best[False]:10.2f}{best[True]:10.2f}{ratio:11.2f}x", flush=True)


if __name__ == "__main__":
    main()
