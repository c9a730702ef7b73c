"""Does ByteNet decode in linear time, and how far apart are words in it? Run python benchmarks/bytenet_linear_time.py.

First the CPU seconds of reading a source and saying n tokens, one by one and one sentence at a time, and the slope of
log(time) over log(n): 1 is linear, 2 quadratic; with 1 +- 0.15 missed, the exit code is 1. Rounds of the lengths are
interleaved and the best of each counts. The Transformer beside it has a cache, so a step grows only by its attention.

Then dependency paths: how many layers lie between what was read n tokens ago and what is said now.
"""

import argparse
import math
import sys
import time

import torch

from regard.models import bytenet, transformer
from regard.protocol import Decodable, Dimensions

VOCABULARY = 100  # characters
TOLERANCE = 0.15


def seconds(model: Decodable, length: int) -> float:
    """Of this process, for one output of `length` tokens; nothing is searched for, so that nothing ends early."""
    source = torch.randint(4, VOCABULARY, (1, round(length / 1.2)))
    start = time.process_time()
    state, token = model.encode(source), torch.tensor([4])
    for _ in range(length):
        _, state = model.step(state, token)
    return time.process_time() - start


def slope(lengths: list[int], times: list[float]) -> float:
    """Of the straight line through log(time) over log(length), by least squares."""
    x, y = ([math.log(value) for value in values] for values in (lengths, times))
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    covariance = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    return covariance / sum((a - mean_x) ** 2 for a in x)


def decoding_times(lengths: list[int], rounds: int) -> bool:
    """Print the table; whether ByteNet is linear."""
    dimensions = Dimensions(VOCABULARY, VOCABULARY, True)
    models = {
        "ByteNet": bytenet.build(bytenet.Config(), dimensions).eval(),
        "Transformer": transformer.build(transformer.Config(), dimensions).eval(),
    }
    best = {name: [math.inf] * len(lengths) for name in models}
    with torch.inference_mode():
        for model in models.values():
            seconds(model, lengths[0])  # warm up
        for _ in range(rounds):
            for number, length in enumerate(lengths):
                for name, model in models.items():
                    best[name][number] = min(best[name][number], seconds(model, length))
    print(f"{'CPU seconds for':16}" + "".join(f"{length:>9}" for length in lengths) + "    slope")
    for name, times in best.items():
        print(f"{name:16}" + "".join(f"{value:9.3f}" for value in times) + f"{slope(lengths, times):9.2f}")
    return abs(slope(lengths, best["ByteNet"]) - 1) <= TOLERANCE


def path(config: bytenet.Config, distance: int) -> str:
    """Blocks of the decoder between a token and what is said `distance` positions later; `-` where it is not seen."""
    dilations = config.dilations(config.decoder_sets)
    return str(len(dilations)) if distance <= (config.kernel_size - 1) * sum(dilations) else "-"


def dependency_paths(distances: list[int]) -> None:
    """Print the table. A recurrent decoder passes everything on step by step."""
    print(f"\n{'layers between':16}" + "".join(f"{distance:>9}" for distance in distances) + "    tokens apart")
    for preset in ("small", "wmt"):
        config = bytenet.Config(preset=preset)
        print(f"{f'ByteNet {preset}':16}" + "".join(f"{path(config, distance):>9}" for distance in distances))
    print(f"{'LSTM, one layer':16}" + "".join(f"{distance + 1:>9}" for distance in distances))
    layers = transformer.Config().num_layers
    print(f"{'Transformer':16}" + "".join(f"{layers:>9}" for _ in distances))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lengths", type=int, nargs="+", default=[64, 128, 256, 512, 1024])
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    is_linear = decoding_times(options.lengths, options.rounds)
    dependency_paths([1, 10, 50, 100, 200, 400])
    if not is_linear:
        sys.exit(f"ByteNet's decoding time is not linear: the slope is not 1 +- {TOLERANCE}")
