"""A server as users run it, and clients as they come from packages."""

import asyncio
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest
import uvicorn
from libretranslatepy import LibreTranslateAPI

import regard
from checks.serving import until
from regard.serve.app import create_app
from regard.serve.models import Models, Place
from regard.serve.run import free_port, make_server
from regard.serve.settings import Settings
from regard.serve.worker import Worker
from tiny_folder import TEXTS

SENTENCES = [" ".join((TEXTS[n % 6].split() * 3)[: 1 + n % 11]) for n in range(64)]


@contextlib.contextmanager
def granian(app, settings):
    """Behind granian, in a thread; the port."""
    port = free_port(settings)
    server, loop = make_server(app, settings, port), asyncio.new_event_loop()
    thread = threading.Thread(target=lambda: loop.run_until_complete(server.serve()))
    thread.start()
    until(lambda: is_open(port), 60)
    yield port
    loop.call_soon_threadsafe(server.stop)
    thread.join(20)
    assert not thread.is_alive()
    loop.close()


def is_open(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


@pytest.fixture(scope="module")
def own_models(tiny_folders):
    """Models whose worker may be stopped, as it is when their server is."""
    tiny, lstm = tiny_folders
    return Models([Place("tiny", tiny, "en", "de"), Place("lstm", lstm, "de", "en")], Worker())


@pytest.fixture(scope="module")
def port(own_models):
    settings = Settings(port=0, header_seconds=1.0)
    with granian(create_app(own_models, settings), settings) as port:
        yield port


def test_64_clients_at_once_get_what_the_command_line_says(port, own_models, tiny_folders):
    expected = {
        place: [each.text for each in regard.load(folder).translate(SENTENCES)]
        for place, folder in zip((("en", "de"), ("de", "en")), tiny_folders, strict=True)
    }

    def one(number):
        source, target = ("en", "de") if number % 2 else ("de", "en")
        query = {"q": SENTENCES[number], "source": source, "target": target}
        answer = httpx2.post(f"http://127.0.0.1:{port}/translate", json=query, timeout=120)
        return answer.json()["translatedText"] == expected[source, target][number]

    with ThreadPoolExecutor(64) as clients:
        assert all(clients.map(one, range(64)))
    sizes = re.findall(r'regard_batch_size_bucket{le="(\d+)\.0"} (\d+)', own_models.worker.metrics.text().decode())
    in_all, alone = int(sizes[-1][1]), int(dict(sizes)["1"])
    assert in_all < 64  # many were searched together
    assert alone < in_all


def test_an_unmodified_client_of_libretranslate(port, tiny_folders):
    client = LibreTranslateAPI(f"http://127.0.0.1:{port}")
    translator = regard.load(tiny_folders[0])
    text = "the cat sees the dog\nthe dogs play"
    expected = "\n".join(each.text for each in translator.translate(text.split("\n")))
    assert client.translate(text, "en", "de") == expected
    assert [language["code"] for language in client.languages()] == ["en", "de"]
    if pytest.importorskip("py3langid"):
        assert client.detect("Der Hund spielt mit dem Kind im Garten.")[0]["language"] == "de"


def test_headers_that_never_end_are_cut_off_and_others_are_served(port):
    started = time.monotonic()
    sockets = [socket.create_connection(("127.0.0.1", port)) for _ in range(40)]
    for each in sockets:
        each.sendall(b"POST /translate HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ")
    assert httpx2.get(f"http://127.0.0.1:{port}/health/live", timeout=10).status_code == 200
    for each in sockets:
        each.settimeout(15)
        each.recv(1000)  # an answer or the end, not silence
        each.close()
    assert time.monotonic() - started < 15


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /health/live HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"x" * (1 << 20) + b"\r\n\r\n",
        b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"POST /translate HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
        bytes(range(200)),
    ],
)
def test_what_is_no_request_does_no_harm(port, sent):
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.settimeout(10)
        with contextlib.suppress(OSError):
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            assert not connection.recv(100).startswith((b"HTTP/1.1 2", b"HTTP/1.1 5"))
    assert httpx2.get(f"http://127.0.0.1:{port}/health/live", timeout=10).status_code == 200


def test_a_client_that_leaves_frees_its_place(port, own_models):
    long = {"text": ["the dog " * 200] * 8, "max_length": 1000, "min_length": 900, "beam_size": 8}
    with pytest.raises(httpx2.TimeoutException):
        httpx2.post(f"http://127.0.0.1:{port}/v1/translate", json=long, timeout=0.3)
    until(lambda: "regard_requests_cancelled_total 0.0" not in own_models.worker.metrics.text().decode())
    started = time.monotonic()
    short = {"q": "the cat", "source": "en", "target": "de"}
    assert httpx2.post(f"http://127.0.0.1:{port}/translate", json=short, timeout=30).status_code == 200
    assert time.monotonic() - started < 10


def test_uvicorn_serves_it_too(models):
    config = uvicorn.Config(
        create_app(models, Settings()), port=free_port(Settings(port=0)), lifespan="off", log_level="error"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    until(lambda: is_open(config.port), 60)
    query = {"q": "the cat", "source": "en", "target": "de"}
    answer = httpx2.post(f"http://127.0.0.1:{config.port}/translate", data=query, timeout=60)
    server.should_exit = True
    thread.join(20)
    assert answer.json()["translatedText"] == models.get("tiny").translator.translate("the cat")[0].text


HELD = """
import sys, time
from pathlib import Path
from regard.cli import main
from regard.serve.worker import Worker

hold, began = map(Path, sys.argv[1:3])
search = Worker._search

def held(worker, jobs):
    while hold.exists():
        began.touch()
        time.sleep(0.01)
    return search(worker, jobs)

Worker._search = held
sys.exit(main.run(sys.argv[3:]))
"""


def test_the_command_serves_until_a_signal_and_finishes_what_it_began(tiny_folders, tmp_path):
    hold, began = tmp_path / "hold", tmp_path / "began"  # so that no machine is too fast to be interrupted
    serve = ["serve", f"{tiny_folders[0]}:en-de", "--port", "0", "--threads", "1"]
    command = [sys.executable, "-c", HELD, str(hold), str(began), *serve]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ | {"PYTHONUNBUFFERED": "1"})
    try:
        address = next(found[0] for line in process.stderr if (found := re.search(r"http://[\d.:]+", line)))
        httpx2.get(f"{address}/health/ready", timeout=60).raise_for_status()
        hold.touch()
        with ThreadPoolExecutor(2) as pool:
            try:
                running = pool.submit(httpx2.post, f"{address}/v1/translate", json={"text": "the dog"}, timeout=60)
                until(began.exists, 60)
                waiting = pool.submit(httpx2.post, f"{address}/v1/translate", json={"text": "the cat"}, timeout=60)
                until(lambda: "regard_queue_depth 1.0" in httpx2.get(f"{address}/metrics").text, 60)
                process.send_signal(signal.SIGTERM)
                assert waiting.result().status_code == 503
            finally:
                hold.unlink()
            assert running.result().status_code == 200
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def test_a_port_that_is_taken_is_said(port, tiny_folders, capsys):
    from regard.cli import main

    assert main.run(["serve", str(tiny_folders[0]), "--port", str(port)]) == 2
    assert "--port" in capsys.readouterr().err
    for verb in ("serve", "explore"):
        assert main.run([verb, str(tiny_folders[0]), "--host", "0.0.0.0"]) == 2
        told = capsys.readouterr().err
        assert "REGARD_API_KEY" in told
        assert "--insecure" in told
        taken = ["--host", "0.0.0.0", "--port", str(port), "--insecure"]
        assert main.run([verb, str(tiny_folders[0]), *taken]) == 2
        assert f"cannot listen at 0.0.0.0:{port}" in capsys.readouterr().err


def test_without_the_extra_serving_says_what_is_lacking(tiny_folders, monkeypatch, capsys):
    from regard.cli import main, serve

    monkeypatch.setattr(serve, "find_spec", lambda name: None)
    for verb in ("serve", "explore"):
        assert main.run([verb, str(tiny_folders[0])]) == 2
        assert "regard[serve]" in capsys.readouterr().err
