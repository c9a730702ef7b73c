"""Minutes of mixed requests to `regard serve`: what it answers, how quickly, and whether its memory grows.

python benchmarks/soak.py en-de scenes --minutes 5
python benchmarks/soak.py runs/small:en-de --minutes 30 --clients 32

The server is a process of its own. Clients in threads of this one send, drawn by a seed: translations short and long,
batches, n-best with alignments, scores, streams read to their end and streams left half-way, plain requests left before
their answer, captions, traces of the explorer, and broken ones (no JSON, unknown fields, absurd settings, half a
surrogate pair, a body that ends too early). Every kind says which answers are right for it; all others are counted as
wrong, and make the exit code 1. So does memory that grows by more than `--most-growth` MB from the end of the first
fifth, when all caches are warm, to the end.
"""

import argparse
import base64
import collections
import http.client
import json
import random
import re
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil

WORDS = "the a man woman dog cat house old small is reads plays runs in on under garden book guitar snow".split()  # noqa: SIM905
BROKEN = (
    b"",
    b"{",
    b'{"text": NaN}',
    b'{"text": "\\ud800"}',
    b'{"text": 1e400}',
    b'{"text": ["a", 3]}',
    b'{"text": "a", "beam_size": 1000000}',
    b'{"text": "a", "colour": "red"}',
    b'{"text": "a", "model": "../../etc/passwd"}',
    b"[" * 100_000,
    b"\xff\xfe\x00",
)


class Tally:
    """What came of the requests of each kind. Many threads add to it."""

    def __init__(self) -> None:
        self.answers: collections.Counter[tuple[str, str]] = collections.Counter()
        self.wrong: collections.Counter[tuple[str, str]] = collections.Counter()
        self.seconds: dict[str, list[float]] = collections.defaultdict(list)
        self._lock = threading.Lock()

    def add(self, kind: str, answer: str, seconds: float, *, is_right: bool) -> None:
        """One more."""
        with self._lock:
            self.answers[kind, answer] += 1
            self.seconds[kind].append(seconds)
            if not is_right:
                self.wrong[kind, answer] += 1


class Client:
    """Draws requests by its seed and sends each over a connection of its own."""

    def __init__(self, port: int, seed: int, picture: bytes | None) -> None:
        self._port, self._random, self._picture = port, random.Random(seed), picture
        self.kinds: dict[str, tuple[Callable[[], str], tuple[str, ...]]] = {
            "translate": (self._translate, ("200",)),
            "translate many": (self._translate_many, ("200",)),
            "n-best": (self._n_best, ("200",)),
            "score": (self._score, ("200",)),
            "stream": (self._stream, ("done",)),
            "stream, left": (self._leave_stream, ("left",)),
            "left": (self._leave, ("left",)),
            "broken": (self._broken, ("400", "413")),
            "cut off": (self._cut_off, ("left",)),
            "trace": (self._trace, ("200",)),
        } | ({} if picture is None else {"caption": (self._caption, ("200",))})

    def one(self, tally: Tally) -> None:
        """Send one."""
        kind = self._random.choice(list(self.kinds))
        send, right = self.kinds[kind]
        start = time.monotonic()
        try:
            answer = send()
        except Exception as error:
            answer = type(error).__name__
        tally.add(kind, answer, time.monotonic() - start, is_right=answer in right)

    def _text(self, most: int) -> str:
        return " ".join(self._random.choice(WORDS) for _ in range(self._random.randint(1, most)))

    def _post(self, path: str, body: bytes, *, length: int | None = None) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=120)
        headers = {"Content-Type": "application/json", "Content-Length": str(len(body) if length is None else length)}
        connection.request("POST", path, body, headers)
        return connection

    def _status(self, path: str, body: bytes) -> str:
        connection = self._post(path, body)
        try:
            answer = connection.getresponse()
            json.loads(answer.read())
            return str(answer.status)
        finally:
            connection.close()

    def _ask(self, path: str, **body: object) -> str:
        return self._status(path, json.dumps(body).encode())

    def _translate(self) -> str:
        return self._ask("/v1/translate", text=self._text(8 if self._random.random() < 0.9 else 120))

    def _translate_many(self) -> str:
        return self._ask("/v1/translate", text=[self._text(8) for _ in range(self._random.randint(1, 12))])

    def _n_best(self) -> str:
        beam = self._random.choice([3, 5])
        return self._ask("/v1/translate", text=self._text(8), beam_size=beam, n_best=3, alignment=True)

    def _score(self) -> str:
        return self._ask("/v1/score", pairs=[[self._text(8), self._text(8)] for _ in range(4)])

    def _trace(self) -> str:
        return self._ask("/api/v1/trace", text=self._text(8))

    def _caption(self) -> str:
        assert self._picture is not None
        return self._ask("/v1/caption", picture=base64.b64encode(self._picture).decode())

    def _open_stream(self) -> http.client.HTTPConnection:
        return self._post("/v1/translate", json.dumps({"text": self._text(12), "stream": True}).encode())

    def _stream(self) -> str:
        connection = self._open_stream()
        try:
            events = re.findall(rb"^event: (\w+)", connection.getresponse().read(), re.MULTILINE)
            return events[-1].decode() if events else "nothing"
        finally:
            connection.close()

    def _leave_stream(self) -> str:
        connection = self._open_stream()
        connection.getresponse().read(self._random.choice([1, 40]))
        connection.close()
        return "left"

    def _leave(self) -> str:
        connection = self._post("/v1/translate", json.dumps({"text": self._text(60)}).encode())
        time.sleep(self._random.random() * 0.1)
        connection.close()
        return "left"

    def _broken(self) -> str:
        return self._status("/v1/translate", self._random.choice(BROKEN))

    def _cut_off(self) -> str:
        self._post("/v1/translate", b'{"text": "a man', length=1000).close()
        return "left"


def main() -> int:
    """Start the server, send, and report; 1 if something was answered wrongly, or memory grew."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", help="as `regard serve` takes them")
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--most-growth", type=float, default=64.0, metavar="MB")
    options = parser.parse_args()
    command = [sys.executable, "-m", "regard", "serve", *options.models, "--port", "0", "--threads", "1"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        port = _port(server)
        drain = threading.Thread(target=lambda: sys.stderr.writelines(server.stderr or ()), daemon=True)
        drain.start()
        tally, memory = _soak(server.pid, port, options)
        server.terminate()
        code = server.wait(60)
    return _report(tally, memory, code, options.most_growth)


def _port(server: "subprocess.Popen[str]") -> int:
    for line in server.stderr or ():
        if found := re.search(r"http://127\.0\.0\.1:(\d+)", line):
            return int(found[1])
    raise SystemExit("the server did not start")


def _soak(process: int, port: int, options: argparse.Namespace) -> tuple[Tally, list[float]]:
    """What came of all requests, and the server's memory in MB every second."""
    picture = Path(__file__).parents[1] / "src/regard/shipped/scenes/examples/test-00000.png"
    has_pictures = any("scenes" in model for model in options.models)
    tally, end = Tally(), time.monotonic() + options.minutes * 60

    def work(seed: int) -> None:
        client = Client(port, seed, picture.read_bytes() if has_pictures else None)
        while time.monotonic() < end:
            client.one(tally)

    threads = [threading.Thread(target=work, args=(options.seed * 1000 + n,)) for n in range(options.clients)]
    for thread in threads:
        thread.start()
    memory, watched = [], psutil.Process(process)
    while any(thread.is_alive() for thread in threads):
        memory.append(watched.memory_info().rss / 1e6)
        time.sleep(1)
    sys.stdout.write(f"threads of the server {watched.num_threads()}, open files {watched.num_fds()}\n")
    return tally, memory


def _report(tally: Tally, memory: list[float], code: int, most_growth: float) -> int:
    print(f"{'kind':<16}{'number':>8}{'median s':>10}{'95 %':>8}{'99 %':>8}  answers")
    for kind, seconds in sorted(tally.seconds.items()):
        middle, high, highest = _percentiles(seconds)
        answers = ", ".join(f"{answer} {count}" for (of, answer), count in sorted(tally.answers.items()) if of == kind)
        print(f"{kind:<16}{len(seconds):>8}{middle:>10.3f}{high:>8.3f}{highest:>8.3f}  {answers}")
    warm = memory[len(memory) // 5]
    growth = statistics.mean(memory[-10:]) - warm
    print(f"memory in MB: {memory[0]:.0f} at the start, {warm:.0f} when warm, {memory[-1]:.0f} at the end, ", end="")
    print(f"{max(memory):.0f} at most; exit code {code}")
    wrong = sum(tally.wrong.values())
    print(f"{sum(tally.answers.values())} requests, {wrong} answered wrongly: {dict(tally.wrong)}")
    return int(wrong > 0 or growth > most_growth or code != 0)


def _percentiles(seconds: list[float]) -> tuple[float, float, float]:
    ordered = sorted(seconds)
    low, middle, high = (ordered[min(len(ordered) - 1, int(len(ordered) * share))] for share in (0.5, 0.95, 0.99))
    return low, middle, high


if __name__ == "__main__":
    sys.exit(main())
