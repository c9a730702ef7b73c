"""Checks of the server's engine: a model of known logits, searched beside others, given up, listened to."""

import asyncio
import time
from collections.abc import Callable, Sequence

import torch

from regard.decoding.search import SearchConfig, search
from regard.pipelines.generate import Request, TorchEngine
from regard.protocol import State
from regard.serve.guard import Guard
from regard.serve.interruptible import Interruptible
from regard.serve.metrics import Metrics
from regard.serve.settings import Settings
from regard.serve.ticket import Ticket
from regard.serve.worker import Lane, Worker
from regard.symbols import EOS


def until(holds: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait so long at most."""
    give_up = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < give_up
        time.sleep(0.002)


class Talker:
    """Says its source's first token over and over; never wants to end."""

    def __init__(self) -> None:
        self.num_steps = 0

    def encode(self, source: torch.Tensor, record=None) -> State:
        return State(source[:, 0], source[:, 0])

    def step(self, state: State, tokens: torch.Tensor, record: object = None) -> tuple[torch.Tensor, State]:
        self.num_steps += 1
        logits = torch.zeros(tokens.size(0), 12).scatter(1, state.carry.unsqueeze(1), 9.0)
        logits[:, EOS] = -9.0
        return logits, state


def _interruptible(talker: Talker, void: Sequence[bool], heard: list[list[list[int]]]) -> Interruptible:
    return Interruptible(
        talker,
        is_void=[lambda each=each: each for each in void],
        listeners=[each.append for each in heard],
        prefixes=[0 for _ in void],
    )


def check_what_nobody_wants_ends_and_the_others_do_not_notice() -> None:
    config = SearchConfig(beam_size=2, min_length=5, max_length=9)
    source = torch.tensor([[7, EOS], [8, EOS]])
    alone = search(Talker(), source[1:], config)[0]
    heard: list[list[list[int]]] = [[], []]
    found = search(_interruptible(Talker(), [True, False], heard), source, config)
    assert len(found[0][0].tokens) == 0
    assert found[1] == alone
    talker = Talker()
    search(_interruptible(talker, [True, True], heard), source, config)
    assert talker.num_steps <= 2


def check_everybody_hears_their_own() -> None:
    heard: list[list[list[int]]] = [[], []]
    config = SearchConfig(beam_size=1, max_length=3)
    search(_interruptible(Talker(), [False, False], heard), torch.tensor([[7, EOS], [8, EOS]]), config)
    assert [each[-1] for each in heard] == [[7, 7, 7], [8, 8, 8]]


def check_settings_of_others_change_nothing() -> None:
    worker = Worker()
    engine = TorchEngine(Talker(), torch.device("cpu"))
    lengths = [2, 5, 3, 7] * 3
    worker.call(lambda: torch.zeros(1), Ticket(9.0)).result(9)
    futures = [
        worker.search(
            Lane("m", engine, SearchConfig(beam_size=1, max_length=length)), [Request([7, EOS])], Ticket(9.0)
        )[0]
        for length in lengths
    ]
    found = [len(future.result(9)[0].tokens) for future in futures]
    worker.stop(5.0)
    assert found == lengths


def check_a_body_is_bounded() -> None:
    reached = []

    async def app(scope: object, receive: object, send: object) -> None:
        reached.append(scope)

    async def ask() -> int:
        chunks, status = [b"x" * 60] * 5, [0]

        async def receive() -> dict[str, object]:
            return {"type": "http.request", "body": chunks.pop(), "more_body": bool(chunks)}

        async def send(message: dict[str, object]) -> None:
            status.append(message.get("status", status[-1]))

        headers = [(b"host", b"127.0.0.1")]
        scope = {"type": "http", "path": "/x", "query_string": b"", "method": "POST", "headers": headers}
        await Guard(app, Settings(max_body=100), Metrics())(scope, receive, send)
        return status[-1]

    assert asyncio.run(ask()) == 413
    assert not reached
