"""The guard alone, before applications of a few lines: whatever comes in, it answers in time or lets go."""

import asyncio
import json

import pytest

from regard.serve.guard import Guard
from regard.serve.metrics import Metrics
from regard.serve.settings import Settings
from regard.serve.ticket import current


class Client:
    """One request as a server would hand it over, and what came back."""

    def __init__(self, path="/x", *, headers=(), chunks=(b"",), query=b"", pause=0.0, leave_after=None):
        self.scope = {
            "type": "http",
            "path": path,
            "query_string": query,
            "method": "POST",
            "headers": [(b"host", b"127.0.0.1:5000"), *headers],
        }
        self.chunks, self.pause, self.leave_after = list(chunks), pause, leave_after
        self.status, self.body, self.headers = None, b"", {}

    async def receive(self):
        if self.chunks:
            await asyncio.sleep(self.pause)
            body = self.chunks.pop(0)
            return {"type": "http.request", "body": body, "more_body": bool(self.chunks)}
        await asyncio.sleep(1e3 if self.leave_after is None else self.leave_after)
        return {"type": "http.disconnect"}

    async def send(self, message):
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], dict(message["headers"])
        else:
            self.body += message.get("body", b"")

    @property
    def error(self):
        return json.loads(self.body)


async def echo(scope, receive, send):
    message = await receive()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": message["body"]})


def guarded(app=echo, **settings):
    return Guard(app, Settings(**settings), Metrics())


def ask(guard, *clients):
    async def all_of_them():
        await asyncio.wait_for(asyncio.gather(*(guard(c.scope, c.receive, c.send) for c in clients)), 20)

    asyncio.run(all_of_them())
    return clients[0]


def test_a_body_in_pieces_arrives_whole():
    client = ask(guarded(), Client(chunks=[b"a", b"", b"bc"]))
    assert (client.status, client.body) == (200, b"abc")
    assert client.headers[b"x-content-type-options"] == b"nosniff"


@pytest.mark.parametrize(
    ("client", "settings", "status"),
    [
        (Client(headers=[(b"content-length", b"200000000")]), {}, 413),
        (Client(headers=[(b"content-length", b"9" * 5000)]), {}, 413),
        (Client(headers=[(b"content-length", b"-1")]), {}, 413),
        (Client(chunks=[b"x" * 60] * 3), {"max_body": 100}, 413),
        (Client(chunks=[b"x"] * 9, pause=0.05), {"body_seconds": 0.1}, 408),
        (Client(headers=[(b"a", b"x" * 20_000)]), {}, 431),
        (Client(headers=[(b"a%d" % n, b"x") for n in range(10_000)]), {}, 431),
        (Client(query=b"x" * 9000), {}, 414),
        (Client(headers=[(b"content-encoding", b"gzip")]), {}, 415),
        (Client(headers=[(b"origin", b"http://evil.example")]), {}, 403),
        (Client(headers=[(b"origin", b"null")]), {}, 403),
        (Client(headers=[(b"origin", b"http://[")]), {}, 403),
        (Client(), {"api_key": "secret"}, 401),
        (Client(headers=[(b"authorization", b"Bearer secre")]), {"api_key": "secret"}, 401),
        (Client(headers=[(b"authorization", b"Bearer \xff")]), {"api_key": "secret"}, 401),
    ],
)
def test_what_is_too_much_is_refused(client, settings, status):
    ask(guarded(**settings), client)
    assert client.status == status
    assert set(client.error) == {"error", "code", "request_id"}
    assert client.headers[b"connection"] == b"close"


def test_another_name_for_this_machine_is_refused_by_a_local_server_only():
    stranger = [(b"host", b"evil.example")]
    for settings, status in (({}, 403), ({"host": "0.0.0.0", "api_key": None}, 200)):
        client = Client()
        client.scope["headers"] = stranger
        assert ask(guarded(**settings), client).status == status


def test_the_right_key_opens_and_health_needs_none():
    key = [(b"authorization", b"Bearer secret")]
    assert ask(guarded(api_key="secret"), Client(headers=key)).status == 200
    assert ask(guarded(api_key="secret"), Client("/health/live")).status == 200
    assert ask(guarded(api_key="secret"), Client("/metrics")).status == 401
    for sent in ("utf-8", "latin-1"):  # as curl and as a page send it
        key = [(b"authorization", "Bearer clé".encode(sent))]
        assert ask(guarded(api_key="clé"), Client(headers=key)).status == 200


async def slow(scope, receive, send):
    await asyncio.sleep(0.3)
    await echo(scope, receive, send)


def test_too_many_at_a_time_are_refused_and_health_is_not():
    clients = [*(Client() for _ in range(12)), Client("/health/live")]
    ask(guarded(slow, max_requests=4), *clients)
    assert [client.status for client in clients] == [200] * 4 + [429] * 8 + [200]
    assert clients[5].headers[b"retry-after"] == b"1"


def test_when_a_client_leaves_its_route_is_cancelled_and_so_is_its_ticket():
    seen = []

    async def route(scope, receive, send):
        seen.append(current())
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    ask(guarded(route), Client(leave_after=0.05))
    assert seen[1] == "cancelled"
    assert seen[0].is_void


def test_a_page_of_this_very_server_may_use_it():
    assert ask(guarded(), Client(headers=[(b"origin", b"http://127.0.0.1:5000")])).status == 200


@pytest.mark.parametrize("settings", [{}, {"api_key": "secret"}])  # the second is refused
def test_who_reads_too_slowly_is_let_go_and_counted_as_one_that_left(settings):
    class Slow(Client):
        async def send(self, message):
            await asyncio.sleep(30)

    guard = guarded(write_seconds=0.05, **settings)
    ask(guard, Slow())
    counted = guard._metrics.text().decode()
    assert "regard_requests_cancelled_total 1.0" in counted
    assert 'regard_requests_total{code="499",route="other"} 1.0' in counted


def test_a_client_that_leaves_before_its_request_is_whole():
    class Gone(Client):
        async def receive(self):
            return {"type": "http.disconnect"}

    assert ask(guarded(), Gone()).status == 400


HOSTILE = [
    b"", b"{", b"null", b"[]", b"5", b'"x"', b"\xff\xfe", b'{"text": "\\ud800"}', b'{"text": NaN}',
    b'{"text": "x", "length_penalty": 1e400}', b'{"text": "x", "seed": ' + b"9" * 5000 + b"}", b"[" * 100_000,
    b'{"text": "\\u0000"}', b'{"text": {"a": 1}}', b'{"q": "\\ud800", "source": "en", "target": "de"}',
    b'{"turns": [null]}', b'{"pairs": [["a", "b", "c"]]}', b'{"messages": [{"role": "tool", "content": "x"}]}',
    b"q=%FF&source=en&target=de", b"q=%ED%A0%80&source=en&target=de", b"=&&&=", b"q" * 100_000,
]  # fmt: skip
ROUTES = ["/v1/translate", "/v1/score", "/v1/chat", "/v1/pronounce", "/v1/chat/completions", "/translate", "/detect"]


@pytest.mark.parametrize("path", ROUTES)
def test_no_bytes_make_the_server_fail(client, path):
    kinds = ["application/json"]
    if path in ("/translate", "/detect"):  # the others take JSON only
        kinds += ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain", ""]
    for body in HOSTILE:
        for kind in kinds:
            answer = client.post(path, content=body, headers={"content-type": kind})
            assert answer.status_code < 500, (body[:60], kind, answer.text)
            if answer.status_code >= 400:
                assert "ud800" not in answer.text


def test_metrics_count_and_hold_no_text_of_clients(client):
    client.post("/v1/translate", json={"text": "the cat sees the dog"})
    client.get("/secret-path-of-a-client")
    text = client.get("/metrics").text
    assert 'regard_requests_total{code="200",route="/v1/translate"}' in text
    assert 'regard_requests_total{code="404",route="other"}' in text
    assert "secret" not in text
    for name in ("batch_size", "queue_depth", "tokens_in_total", "tokens_out_total", "queue_wait_seconds"):
        assert f"regard_{name}" in text
