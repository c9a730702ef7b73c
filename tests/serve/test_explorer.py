import base64

import numpy as np
import pytest

from regard.pipelines.trace import trace_sentence
from regard.serve import explorer

TEXT = "the cat sees the dog"


def numbers(array: dict) -> np.ndarray:
    return np.frombuffer(base64.b64decode(array["base64"]), dtype="<f4").reshape(array["shape"])


def ask(client, path="trace", **request):
    return client.post(f"/api/v1/{path}", json={"text": TEXT, **request})


def test_the_page_is_given_out_whole_and_may_ask_this_server_only(client):
    answer = client.get("/explorer/")
    assert 'data-server="true"' in answer.text
    policy = answer.headers["content-security-policy"]
    assert "connect-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy


def test_models_are_listed_each_with_something_to_begin_with(client):
    listed = client.get("/api/v1/models").json()["models"]
    assert [(each["name"], each["kind"]) for each in listed] == [("tiny", "transformer"), ("lstm", "seq2seq")]
    assert all(each["example"] for each in listed)


def test_a_trace_is_that_of_the_command_line(client, models):
    answer = ask(client).json()
    trace = trace_sentence(models.get("tiny").translator, TEXT)
    assert answer["ids"]["target"] == trace.target
    for site in answer["sites"]:
        seen = trace.sites[site["name"]]
        assert np.allclose(numbers(site["weights"]), seen.weights.numpy(), atol=1e-6)
        detail = client.get(f"/api/v1/trace/{answer['id']}/sites/{site['name']}").json()
        assert np.allclose(numbers(detail["values"]), seen.values.numpy(), atol=1e-5)


def test_beam_prefix_and_override_are_obeyed(client):
    plain = ask(client).json()
    other = next(each["token"] for each in plain["steps"][0]["alternatives"] if each["token"] > 3)
    forced = ask(client, prefix=[other], search={"beam_size": 2}).json()
    assert forced["ids"]["target"][0] == other
    assert forced["search"]["beam_size"] == 2
    row = [0.0, 1.0] + [0.0] * (len(plain["ids"]["source"]) - 2)
    changed = ask(client, override={"site": "decoder.0.cross", "head": 1, "query": 0, "weights": row}).json()
    (site,) = [each for each in changed["sites"] if each["name"] == "decoder.0.cross"]
    assert numbers(site["weights"])[1, 0].tolist() == row


def test_two_models_are_compared_step_by_step(client):
    answer = ask(client, "compare", model="tiny", other="lstm").json()
    assert len(answer["divergence"]) == len(answer["trace"]["steps"])
    assert all(0 <= each <= np.log(2) for each in answer["divergence"])
    assert ask(client, "compare", model="tiny", other="tiny").json()["divergence"] == pytest.approx(
        [0.0] * len(answer["divergence"]), abs=1e-9
    )


def test_leaving_words_out_and_taking_the_page_along(client):
    answer = ask(client).json()
    lost = client.get(f"/api/v1/trace/{answer['id']}/influence").json()
    assert lost["shape"] == [len(answer["steps"]), 5]
    page = client.get(f"/api/v1/trace/{answer['id']}/page")
    assert page.headers["content-security-policy"] == "sandbox"
    assert '"details"' in page.text


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"text": " "}, "empty sentence"),
        ({"text": "x" * 6000}, "text"),
        ({"text": "a", "model": "none"}, "there is no such model; there are tiny, lstm"),
        ({"text": "a", "prefix": [0]}, "not ids of words"),
        ({"text": "a", "prefix": [10**6]}, "not ids of words"),
        ({"text": "a", "search": {"beam_size": 1000}}, "beam_size"),
        ({"text": "a", "search": {"sampling": True}}, "sampling"),
        (
            {"text": "a", "override": {"site": "encoder.9.self", "head": 0, "query": 0, "weights": [1]}},
            "it has encoder.0.self",
        ),
        ({"text": "a", "override": {"site": "encoder.0.self", "head": 0, "query": 99, "weights": [1]}}, "no query 99"),
        ({"text": "a", "override": {"site": "encoder.0.self", "head": 9, "query": 0, "weights": [1]}}, "has the heads"),
        ({"text": "a", "override": {"site": "decoder.0.self", "head": 0, "query": 0, "weights": [0, 1]}}, "hidden"),
        ({"text": "a", "override": {"site": "decoder.0.cross", "head": 0, "query": 0, "weights": []}}, "weights"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_sentence(client, request_, message):
    answer = client.post("/api/v1/trace", json=request_)
    assert answer.status_code == 400
    assert message in answer.json()["error"]


def test_a_sentence_that_is_not_kept_is_not_found(client, monkeypatch):
    assert client.get("/api/v1/trace/0/influence").status_code == 404
    number = ask(client).json()["id"]
    assert client.get(f"/api/v1/trace/{number}/sites/decoder.9.cross").status_code == 404
    monkeypatch.setattr(explorer, "MOST_TRACES", 1)
    ask(client)
    assert client.get(f"/api/v1/trace/{number}/sites/decoder.0.cross").status_code == 404
