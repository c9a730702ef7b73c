"""Labels and scores for many clients at once: computed together, and yet those of the command line."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from test_live_server import granian

import regard
from regard.checkpoint.model_folder import dimensions_of, save_model
from regard.client import Client
from regard.data.dataset import Vocabularies
from regard.data.tokenizer import TokenizerConfig, learn
from regard.decoding.search import SearchConfig
from regard.errors import DataError
from regard.models import text_classifier
from regard.serve.app import create_app
from regard.serve.models import Models, Place
from regard.serve.settings import Settings
from regard.serve.ticket import Ticket
from regard.serve.worker import Together, Worker
from tiny_folder import TEXTS

CLIENTS = 64
WORDS = ["the", "cat", "sees", "dog", "a", "small", "house", "stands", "there", "dogs", "play", "in", "snow"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    words = Vocabularies(
        learn(TokenizerConfig(kind="words"), TEXTS), learn(TokenizerConfig(kind="labels"), ["sun", "rain", "snow"])
    )
    config = text_classifier.Config.model_validate({"preset": "attention", "embedding_size": 8, "size": 8})
    model = text_classifier.build(config, dimensions_of(words))
    place = tmp_path_factory.mktemp("labels") / "weather"
    save_model(place, model, config=config, vocabularies=words, search=SearchConfig())
    return place


def text(number: int) -> str:
    return " ".join(WORDS[(number * step) % len(WORDS)] for step in range(1, 2 + number % 9))


def test_clients_at_once_get_what_the_command_line_gives(folder, tiny_folders, monkeypatch):
    worker = Worker()
    models = Models([Place("weather", folder), Place("tiny", tiny_folders[0])], worker)
    batches = []
    take = worker._take
    monkeypatch.setattr(worker, "_take", lambda: batches.append(take()) or batches[-1])
    settings = Settings(port=0)
    with granian(create_app(models, settings), settings) as port:
        client, free = Client(f"http://127.0.0.1:{port}"), threading.Event()
        worker.call(lambda: free.wait(30), Ticket(60.0))

        def ask(number):
            if number % 2:
                return client.classify(text(number))[0]
            return client.score([(text(number), text(number + 1))])[0]

        with ThreadPoolExecutor(CLIENTS) as pool:
            asked = [pool.submit(ask, number) for number in range(CLIENTS)]
            while worker.queue_length < CLIENTS:
                assert not any(each.done() for each in asked)
            free.set()
            answers = [each.result(60) for each in asked]
    assert max(len(batch) for batch in batches if batch) >= CLIENTS // 4
    classifier, translator = regard.Classifier.load(folder), regard.load(tiny_folders[0])
    for number, answer in enumerate(answers):
        if number % 2:
            (expected,) = classifier.classify(text(number))
            assert answer["label"] == expected.label
            assert answer["probability"] == pytest.approx(expected.probability, abs=1e-6)
        else:
            (scored,) = translator.score([(text(number), text(number + 1))])
            assert answer["tokens"] == scored.tokens
            # In float32 the sum of some 130 nats differs by its last bits with the number of neighbours.
            assert answer["score"] == pytest.approx(scored.score, rel=2e-6)


def test_what_fails_does_so_alone():
    def compute(things, _):
        if "poison" in things:
            raise RuntimeError("no")
        return [thing.upper() for thing in things]

    worker, free = Worker(), threading.Event()
    worker.call(lambda: free.wait(30), Ticket(60.0))
    things = ["a", "poison", "b", "c"]
    futures = worker.compute(Together("x", compute), things, [1, 1, 9, 1], Ticket(60.0))
    gone = Ticket(60.0)
    (dropped,) = worker.compute(Together("x", compute), ["d"], [1], gone)
    gone.cancel()
    free.set()
    for thing, future in zip(things, futures, strict=True):
        if thing == "poison":
            with pytest.raises(RuntimeError, match="no"):
                future.result(30)
        else:
            assert future.result(30) == thing.upper()
    assert dropped.cancelled()
    worker.stop(5.0)


def test_other_settings_are_another_computation():
    seen = []

    def compute(things, settings):
        seen.append((settings, things))
        return things

    worker, free = Worker(), threading.Event()
    worker.call(lambda: free.wait(30), Ticket(60.0))
    futures = [
        worker.compute(Together("x", compute, number % 2), [number], [1], Ticket(60.0))[0] for number in range(6)
    ]
    free.set()
    assert [future.result(30) for future in futures] == list(range(6))
    assert seen == [(0, [0, 2, 4]), (1, [1, 3, 5])]
    worker.stop(5.0)


def test_a_pair_that_is_too_long_is_named_by_its_number(tiny_folders):
    models = Models([Place("tiny", tiny_folders[0])], Worker())
    with pytest.raises(DataError, match="pair 2 has more than"):
        models.get("tiny").score([("the cat", "x"), ("the cat " * 2000, "x")])
