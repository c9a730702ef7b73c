"""Measures commands in turns, each in a process of its own, so that a busy machine hurts all alike."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

T = TypeVar("T")


class Failed(SystemExit):
    """A measurement that came to nothing; nobody who does not catch it goes on."""


def in_turns(
    jobs: dict[str, list[str]],
    read: Callable[[dict[str, Any]], T],
    *,
    rounds: int,
    peers: Sequence[str],
    environment: Mapping[str, str],
    tell: Callable[[T], str],
) -> dict[str, list[T]]:
    """What `read` makes of each job's last RESULT line, a round's after the other; `tell` is a line of progress.

    A job that is one of `peers` ("NAME=COMMAND") and fails is told and left out.

    Raises:
        Failed: another one does.
    """
    left, results = dict(jobs), {name: [] for name in jobs}
    names = {peer.partition("=")[0] for peer in peers}
    for number in range(rounds):
        for name, command in list(left.items()):
            try:
                results[name].append(read(_run(command, environment)))
            except Failed as error:
                if name not in names:
                    raise
                print(f"{name} is left out: {error}", file=sys.stderr, flush=True)
                del left[name], results[name]
                continue
            print(f"round {number + 1}: {name}: {tell(results[name][-1])}", file=sys.stderr, flush=True)
    return results


def threads_are(number: int) -> dict[str, str]:
    """The environment that says so, to ours and to the peers' programs."""
    return {"OMP_NUM_THREADS": str(number), "PEERS_THREADS": str(number)}


def _run(command: list[str], environment: Mapping[str, str]) -> dict[str, Any]:
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment}, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    if done.returncode or not lines:
        raise Failed(f"{shlex.join(command)} failed:\n{done.stderr[-2000:] or done.stdout[-2000:]}")
    found: dict[str, Any] = json.loads(lines[-1].removeprefix("RESULT "))
    return found
