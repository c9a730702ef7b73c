"""The client of the package against a real server."""

import contextlib
import socket
import subprocess
import sys
import threading

import pytest
from test_live_server import granian

import regard
from regard.client import Client, ServerError
from regard.pipelines.chat import Chat
from regard.serve.app import create_app
from regard.serve.models import Models, Place
from regard.serve.settings import Settings
from regard.serve.worker import Worker


@pytest.fixture(scope="module")
def address(tiny_folders):
    settings = Settings(port=0, api_key="secret")
    models = Models([Place("tiny", tiny_folders[0], "en", "de")], Worker())
    with granian(create_app(models, settings), settings) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def client(address):
    return Client(address, api_key="secret")


@pytest.fixture(scope="module")
def translator(tiny_folders):
    return regard.load(tiny_folders[0])


def test_it_gives_what_the_model_gives(client, translator):
    found = client.translate("the cat", n_best=2, alignment=True)
    (each,) = translator.translate("the cat", n_best=2)
    assert (found["text"], found["score"]) == (each.text, each.score)
    assert found["alternatives"][0]["text"] == each.alternatives[0].text
    assert [x["text"] for x in client.translate(["the dog", ""])] == [translator.translate("the dog")[0].text, ""]
    assert client.models()[0]["id"] == "tiny"
    assert client.pronounce(["cat"])[0]["phones"] == translator.translate("cat")[0].text.split()
    assert client.score([("the cat", "die Katze")])[0]["score"] == translator.score([("the cat", "die Katze")])[0].score


def test_it_streams(client, translator):
    *updates, done = client.stream("the cat sees", beam_size=1)
    assert done["translation"]["text"] == translator.translate("the cat sees", beam_size=1)[0].text
    assert "".join(update["text"] for update in updates) == done["translation"]["text"]
    chat = Chat(translator, beam_size=1, max_length=8)
    assert "".join(client.chat(["the cat"], temperature=0, max_length=8)) == "".join(chat.reply("the cat"))


def test_what_the_server_refuses_is_said(client, address):
    with pytest.raises(ServerError, match="beam_size") as told:
        client.translate("x", beam_size=0)
    assert told.value.status == 400
    assert told.value.request_id
    with pytest.raises(ServerError, match="key") as told:
        Client(address).models()
    assert told.value.status == 401
    with pytest.raises(ServerError, match="cannot be reached"):
        Client("http://127.0.0.1:9").models()
    with pytest.raises(ValueError, match="http://"):
        Client("127.0.0.1:5000")


@contextlib.contextmanager
def answering(answer: bytes):
    """A server that sends this to one client and closes; its address."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve():
            connection, _ = listening.accept()
            with connection:
                connection.recv(10_000)
                connection.sendall(answer)
                connection.shutdown(socket.SHUT_WR)
                connection.recv(10_000)  # until the client has read it

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        thread.join(10)


EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
HELLO = b'event: token\ndata: {"text": "Hello"}\n\n'
BROKEN = [
    EVENTS + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n" % (len(HELLO), HELLO),
    EVENTS + b"Connection: close\r\n\r\n" + HELLO,
    EVENTS + b"Content-Length: 999\r\n\r\n" + HELLO,
]


@pytest.mark.parametrize("answer", BROKEN)
def test_a_stream_that_breaks_off_is_no_whole_answer(answer):
    with answering(answer) as address:
        pieces = Client(address).chat(["hi"])
        assert next(pieces) == "Hello"
        with pytest.raises(ServerError, match="the answer broke off"):
            next(pieces)
    with answering(answer) as address, pytest.raises(ServerError, match="the answer broke off"):
        list(Client(address).stream("hi"))


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"data"', "the answer broke off"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>", "not one of `regard serve`"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", "not one of `regard serve`"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n\xff", "not one of `regard serve`"),
        (b"HTTP/1.1 500 Failed\r\nContent-Length: 99\r\n\r\n{", "the server answered 500 Failed"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "there is no HTTP server: SSH-2.0"),
        (b"", "cannot be reached"),
    ],
)
def test_what_is_no_answer_is_an_error_of_the_server(answer, message):
    with answering(answer) as address, pytest.raises(ServerError, match=message):
        Client(address).models()


@pytest.mark.parametrize("address", ["http://127.0.0.1:x", "http://[", "http://"])
def test_an_address_that_is_none_is_an_error_of_the_server(address):
    with pytest.raises(ServerError):
        Client(address).models()


def test_a_key_of_any_letters_opens(tiny_folders):
    settings = Settings(port=0, api_key="clé €")
    models = Models([Place("tiny", tiny_folders[0], "en", "de")], Worker())
    with granian(create_app(models, settings), settings) as port:
        assert Client(f"http://127.0.0.1:{port}", api_key="clé €").models()


def test_it_needs_neither_torch_nor_pydantic():
    code = "import sys, regard; regard.Client(); print({'torch', 'pydantic', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
