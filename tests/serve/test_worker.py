"""The queue and its one thread: who waits, who is searched together, who is let go."""

import threading

import pytest
import torch

from checks.serving import until
from regard.decoding.search import SearchConfig
from regard.pipelines.generate import TorchEngine
from regard.serve import worker as worker_module
from regard.serve.queued import QueuedEngine
from regard.serve.ticket import DeadlineError, Ticket, VoidError, holding
from regard.serve.worker import Lane, OverloadedError, StoppingError, Worker

CONFIG = SearchConfig(beam_size=2, max_length_extra=8)


@pytest.fixture
def worker():
    worker = Worker(batch_size=8)
    yield worker
    worker.stop(5.0)


class Slow:
    """A model whose every step waits until it is let on."""

    def __init__(self, model):
        self.model, self.steps, self.may_go, self.batches = model, 0, threading.Event(), []

    def encode(self, source, record=None):
        self.batches.append(source.size(0))
        return self.model.encode(source)

    def step(self, state, tokens, record=None):
        self.may_go.wait(10)
        self.steps += 1
        return self.model.step(state, tokens, record)


@pytest.fixture
def slow(models):
    return Slow(models.get("tiny").engine.torch.model)


@pytest.fixture
def lane(slow):
    return Lane("slow", TorchEngine(slow, torch.device("cpu")), CONFIG)


def request(models, text="the cat sees the dog"):
    return models.get("tiny").translator.request(text)


def drain(generator):
    """What it yields, and what it returns."""
    heard = []
    while True:
        try:
            heard.append(next(generator))
        except StopIteration as end:
            return heard, end.value


def test_what_waits_is_searched_together_by_lane_and_length(models, worker, slow, lane):
    first = worker.search(lane, [request(models, "the cat")], Ticket(60.0))
    until(lambda: slow.batches == [1])
    other = lane._replace(config=CONFIG.model_copy(update={"beam_size": 3}))
    texts = ["the dog", "the cat sees", "a small house stands there"] * 4
    rest = [
        worker.search(lane if n % 2 else other, [request(models, text)], Ticket(60.0)) for n, text in enumerate(texts)
    ]
    slow.may_go.set()
    found = [future.result(30)[0].tokens for (future,) in [first, *rest]]
    assert slow.batches == [1, 6, 6]
    alone = models.get("tiny").translator
    for n, text in enumerate(["the cat", *texts]):
        beam = 2 if n == 0 or (n - 1) % 2 else 3
        assert found[n] == alone.translate(text, beam_size=beam, max_length_extra=8)[0].ids


def test_who_has_just_been_answered_is_searched_beside_those_who_waited_meanwhile(
    models, worker, slow, lane, monkeypatch
):
    for name in ("LINGER", "LONGEST_LINGER"):  # nobody is late on a busy machine
        monkeypatch.setattr(worker_module, name, 1000.0)
    again = []

    def ask_again():
        again.extend(worker.search(lane, [request(models)], Ticket(60.0)))

    (first,) = worker.search(lane, [request(models)], Ticket(60.0))
    first.add_done_callback(lambda _: threading.Timer(0.05, ask_again).start())
    until(lambda: slow.batches == [1])
    futures = worker.search(lane, [request(models)] * 3, Ticket(60.0))
    slow.may_go.set()
    for future in futures:
        future.result(30)
    assert slow.batches == [1, 4]
    assert again[0].result(30)


def test_a_batch_keeps_to_its_budget(models, worker, slow, lane, monkeypatch):
    monkeypatch.setattr(worker_module, "MAX_POSITIONS", 40)
    worker.search(lane, [request(models)], Ticket(60.0))
    until(lambda: slow.batches == [1])
    futures = worker.search(lane, [request(models, "the cat")] * 20, Ticket(60.0))
    slow.may_go.set()
    for future in futures:
        future.result(30)
    length = len(request(models, "the cat").source)
    assert len(slow.batches) > 3
    assert all(size * length * 2 <= 40 for size in slow.batches[1:])


def test_who_leaves_ends_its_search_with_the_next_step_and_nobody_elses(models, worker, slow, lane):
    leaver, stayer = Ticket(60.0), Ticket(60.0)
    worker.search(lane, [request(models, "a")], Ticket(60.0))
    until(lambda: slow.batches == [1])
    (gone,) = worker.search(lane, [request(models)], leaver)
    (kept,) = worker.search(lane, [request(models)], stayer)
    (waiting,) = worker.search(lane._replace(config=SearchConfig()), [request(models)], leaver)
    slow.may_go.set()
    until(lambda: slow.batches == [1, 2])
    leaver.cancel()
    assert (
        kept.result(30)[0].tokens
        == models.get("tiny").translator.translate("the cat sees the dog", beam_size=2, max_length_extra=8)[0].ids
    )
    assert gone.done()
    until(waiting.cancelled)
    assert slow.batches == [1, 2]


def test_when_all_have_left_the_search_ends(models, worker, slow, lane):
    ticket = Ticket(60.0)
    long = lane._replace(config=SearchConfig(beam_size=2, min_length=300, max_length=400, max_length_extra=400))
    prefixed = request(models)._replace(prefix=[9, 9])
    (future,) = worker.search(long, [prefixed], ticket)
    until(lambda: slow.batches == [1])
    ticket.cancel()
    slow.may_go.set()
    with pytest.raises(VoidError):
        future.result(30)
    until(lambda: worker.call(lambda: True, Ticket(60.0)).result(30))
    assert slow.steps <= 4


def test_a_deadline_is_kept_in_the_queue_and_in_the_search(models, worker, slow, lane):
    engine = QueuedEngine(worker, "slow", lane.engine)
    for _ in range(2):
        with holding(Ticket(0.05)), pytest.raises(DeadlineError):
            engine.search([request(models)], CONFIG)
    slow.may_go.set()
    with holding(Ticket(60.0)):
        assert engine.search([request(models)], CONFIG)


def test_too_many_are_refused_and_the_others_are_not_hurt(models, slow):
    worker = Worker(max_queue=3)
    lane = Lane("slow", TorchEngine(slow, torch.device("cpu")), CONFIG)
    first = worker.search(lane, [request(models)], Ticket(60.0))
    until(lambda: slow.batches == [1])
    waiting = worker.search(lane, [request(models)] * 3, Ticket(60.0))
    with pytest.raises(OverloadedError):
        worker.search(lane, [request(models)], Ticket(60.0))
    slow.may_go.set()
    assert len({tuple(future.result(30)[0].tokens) for future in [*first, *waiting]}) == 1
    worker.stop(5.0)


def test_stopping_finishes_what_runs_and_refuses_what_waits(models, slow):
    worker = Worker()
    lane = Lane("slow", TorchEngine(slow, torch.device("cpu")), CONFIG)
    (running,) = worker.search(lane, [request(models)], Ticket(60.0))
    until(lambda: slow.batches == [1])
    (waiting,) = worker.search(lane, [request(models)], Ticket(60.0))
    stopper = threading.Thread(target=worker.stop, args=(10.0,))
    stopper.start()
    with pytest.raises(StoppingError):
        waiting.result(5)
    slow.may_go.set()
    assert running.result(10)
    stopper.join()
    assert not worker.is_alive
    with pytest.raises(StoppingError):
        worker.search(lane, [request(models)], Ticket(60.0))


class Poisoned:
    """A model that fails whenever one certain sentence is in the batch."""

    def __init__(self, model, poison):
        self.model, self.poison = model, poison

    def encode(self, source, record=None):
        if (source == self.poison).any():
            raise RuntimeError("out of memory")
        return self.model.encode(source)

    def step(self, state, tokens, record=None):
        return self.model.step(state, tokens, record)


def test_a_sentence_that_fails_does_so_alone(models, worker):
    tiny = models.get("tiny")
    texts = ["the cat", "the dog", "a house", "the snow", "the dogs play"]
    poison = next(
        i
        for i in tiny.translator.request("snow").source
        if i not in tiny.translator.request("the cat the dog a house the dogs play").source
    )
    lane = Lane("poisoned", TorchEngine(Poisoned(tiny.engine.torch.model, poison), torch.device("cpu")), CONFIG)
    futures = worker.search(lane, [request(models, text) for text in texts], Ticket(60.0))
    for text, future in zip(texts, futures, strict=True):
        if text == "the snow":
            with pytest.raises(RuntimeError, match="out of memory"):
                future.result(30)
        else:
            expected = tiny.translator.translate(text, beam_size=2, max_length_extra=8)[0].ids
            assert future.result(30)[0].tokens == expected


def test_updates_end_in_what_the_search_finds_and_neighbours_hear_their_own(models):
    for search in ({"beam_size": 1}, {"beam_size": 4}, {"sampling": True, "beam_size": 1}):
        tiny = models.get("tiny")
        config = tiny.translator.settings(**search)
        texts = ["the cat sees the dog", "a small house"]
        expected = [tiny.translator.translate(text, **search)[0].ids for text in texts]
        streams = [tiny.engine.updates(tiny.translator.request(text), config) for text in texts]
        for stream, ids in zip(streams, expected, strict=True):
            heard, found = drain(stream)
            assert found[0].tokens == ids
            if "sampling" in search or search["beam_size"] == 1:
                assert heard == [ids[:n] for n in range(1, len(ids) + 1)]
            assert "".join(tiny.translator.stream(texts[0], **(search | {"beam_size": 1})))
