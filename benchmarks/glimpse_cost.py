"""Time and peak memory of looking by glimpses, as the picture grows. More than 1.3 times is an exit code of 1.

python benchmarks/glimpse_cost.py
python benchmarks/glimpse_cost.py --sides 60 500 2000 --batch 16 --repeats 30
"""

import argparse
import resource
import statistics
import subprocess
import sys
import time

import torch

from regard.models import glimpse
from regard.protocol import Dimensions

MOST = 1.3  # what 2,000 x 2,000 pixels may cost, in units of 60 x 60


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", type=int, nargs="+", default=[60, 400, 2000])
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=40)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one is not None:
        print(*measure(options.one, options.batch, options.repeats))
        return
    print(" side   ms for 6 glimpses   MiB beside the pictures")
    costs = []
    for side in options.sides:
        # A process of its own: peak memory never falls again.
        command = [sys.executable, __file__, "--one", str(side), "--batch", str(options.batch)]
        answer = subprocess.run(
            [*command, "--repeats", str(options.repeats)], check=True, capture_output=True, text=True
        )
        costs.append([float(number) for number in answer.stdout.split()])
        print(f"{side:5d} {costs[-1][0]:19.2f} {costs[-1][1]:25.1f}")
    (time_first, memory_first), (time_last, memory_last) = costs[0], costs[-1]
    print(f"the largest takes {time_last / time_first:.2f} times as long as the smallest")
    # Memory comes in pages: half a megabyte more or less is none.
    if time_last > MOST * time_first or memory_last > MOST * memory_first + 0.5:
        sys.exit(f"more than {MOST} times")


def measure(side: int, batch: int, repeats: int) -> tuple[float, float]:
    """Median milliseconds of six glimpses, and by how many MiB they raise the peak above what was there before."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = glimpse.build(glimpse.Config(patch=12, scales=3), Dimensions(1, 14, height=side, width=side)).eval()
    pictures = torch.rand(batch, 1, side, side)
    times = []
    with torch.inference_mode():
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for _ in range(repeats):
            begun = time.perf_counter()
            model.label(pictures)
            times.append(time.perf_counter() - begun)
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return 1e3 * statistics.median(times), (after - before) / 2**10


if __name__ == "__main__":
    main()
