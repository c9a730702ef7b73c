"""Sentences per CPU-second of a tool that does not tell: the CPU time of many sentences less that of few.

python benchmarks/difference.py --many 320 "onmt_translate -model m.pt -src input.{sentences} -output out -beam_size 5"

`{sentences}` becomes the two numbers in turn. What both runs do once (start, loading the model) cancels out. The last
line is what `decoding_speed.py --peer` reads.
"""

import argparse
import json
import os
import resource
import shlex
import subprocess
import sys


def main() -> None:
    """Run the command twice and print the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command")
    parser.add_argument("--few", type=int, default=32)
    parser.add_argument("--many", type=int, default=320)
    options = parser.parse_args()
    seconds = [_cpu_seconds(options.command, number) for number in (options.few, options.many)]
    if seconds[1] <= seconds[0]:
        raise SystemExit(f"{options.many} sentences took no longer than {options.few}: {seconds}; take more")
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    speed = (options.many - options.few) / (seconds[1] - seconds[0])
    print("RESULT", json.dumps({"sent_cpu_s": speed, "rss_mb": memory}))


def _cpu_seconds(command: str, number: int) -> float:
    before = os.times()
    done = subprocess.run(
        shlex.split(command.replace("{sentences}", str(number))), capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.stderr.write(done.stdout[-2000:] + done.stderr[-2000:])
        raise SystemExit(done.returncode)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


if __name__ == "__main__":
    main()
