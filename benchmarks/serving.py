"""Sentences a second through the server: many clients at once against one after the other.

python benchmarks/serving.py runs/small/model --texts newstest.en                    # 64 clients, 256 sentences
python benchmarks/serving.py runs/small/model --texts newstest.en --clients 1 8 64 --beam-size 1

Every sentence is a request of its own over HTTP (granian, /v1/translate). One client waits for its answer before it
asks again, so the server searches one sentence at a time; of many clients it searches together what has come. The
clients are threads of another process. Rounds are interleaved, so that a busy machine hurts all alike. Wall time and
CPU time of the server are printed, and whether every answer is that of one client.
"""

import argparse
import asyncio
import json
import multiprocessing
import statistics
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple


class Round(NamedTuple):
    """What one round took, in seconds, and what was answered."""

    wall: float
    processor: float
    answers: list[str]


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--texts", type=Path, required=True, help="one sentence a line")
    parser.add_argument("--number", type=int, default=256, help="sentences")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 64])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--beam-size", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    texts = options.texts.read_text(encoding="utf-8").split("\n")[: options.number]
    results: dict[int, list[Round]] = {clients: [] for clients in options.clients}
    context = multiprocessing.get_context("spawn")
    with (
        ProcessPoolExecutor(1, context) as others,
        served(options.model, options.threads) as (address, batch_sizes),
    ):
        ask(address, texts[0], options.beam_size)
        for _ in range(options.rounds):
            for clients, rounds in results.items():
                rounds.append(measure(others, address, texts, clients, options.beam_size))
        sizes = batch_sizes()
    report(results, len(texts), sizes)


@contextmanager
def served(model: Path, threads: int) -> Iterator[tuple[str, Callable[[], str]]]:
    """The server in a thread of this process; its address, and how often it searched, and how much at a time."""
    from regard.serve.app import create_app
    from regard.serve.models import Models, Place
    from regard.serve.run import free_port, make_server
    from regard.serve.settings import Settings
    from regard.serve.worker import Worker
    from regard.training.numerics import set_up_inference

    set_up_inference("cpu", threads=threads)
    settings, worker = Settings(port=0), Worker()
    app = create_app(Models([Place("model", model)], worker), settings)
    port, loop = free_port(settings), asyncio.new_event_loop()
    server = make_server(app, settings, port)
    thread = threading.Thread(target=lambda: loop.run_until_complete(server.serve()))
    thread.start()
    address = f"http://127.0.0.1:{port}"
    while True:
        try:
            urllib.request.urlopen(f"{address}/health/ready").read()
            break
        except OSError:
            time.sleep(0.05)
    yield address, lambda: worker.metrics.text().decode()
    loop.call_soon_threadsafe(server.stop)
    thread.join()


def ask(address: str, text: str, beam_size: int) -> str:
    """The server's translation of `text`."""
    body = json.dumps({"text": text, "beam_size": beam_size}).encode()
    request = urllib.request.Request(f"{address}/v1/translate", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        found: str = json.load(answer)["translation"]["text"]
    return found


def ask_all(address: str, texts: list[str], clients: int, beam_size: int) -> list[str]:
    """The translations of all `texts` by so many clients."""
    with ThreadPoolExecutor(clients) as pool:
        return list(pool.map(lambda text: ask(address, text, beam_size), texts))


def measure(others: ProcessPoolExecutor, address: str, texts: list[str], clients: int, beam_size: int) -> Round:
    """All `texts` by so many clients."""
    wall, processor = time.perf_counter(), time.process_time()
    answers = others.submit(ask_all, address, texts, clients, beam_size).result()
    return Round(time.perf_counter() - wall, time.process_time() - processor, answers)


def report(results: dict[int, list[Round]], number: int, sizes: str) -> None:
    """A row for each number of clients; the medians of the rounds."""
    base = next(iter(results.values()))
    alone = statistics.median(each.wall for each in base), statistics.median(each.processor for each in base)
    print(f"{'clients':>8}{'sentences/s':>14}{'faster':>9}{'per CPU-second':>17}{'faster':>9}  same answers")
    for clients, rounds in results.items():
        wall = statistics.median(each.wall for each in rounds)
        processor = statistics.median(each.processor for each in rounds)
        same = all(each.answers == base[0].answers for each in rounds)
        print(
            f"{clients:>8}{number / wall:>14.2f}{alone[0] / wall:>9.2f}{number / processor:>17.2f}"
            f"{alone[1] / processor:>9.2f}  {'yes' if same else 'NO'}"
        )
    for line in sizes.splitlines():
        if line.startswith(("regard_batch_size_count", "regard_batch_size_sum")):
            sys.stderr.write(line + "\n")


if __name__ == "__main__":
    main()
