import json
import queue
import threading

import pytest

from regard.pipelines.chat import Chat
from regard.pipelines.translate import Translation, load
from regard.serve import openai, queued, weights
from regard.serve.ticket import Ticket
from regard.serve.weights import num_weights
from tiny_folder import save_tiny

TEXT = "the cat sees the dog"


def events(answer):
    """Name and value of each server-sent event."""
    found = []
    for block in answer.text.strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n"))
        data = fields["data"]
        found.append((fields.get("event"), data if data == "[DONE]" else json.loads(data)))
    return found


def test_a_translation_tells_what_the_command_line_tells(client, models):
    body = {"text": TEXT, "n_best": 2, "beam_size": 3, "alignment": True, "attention": True, "length_penalty": 1}
    answer = client.post("/v1/translate", json=body).json()
    (each,) = models.get("tiny").translator.translate(TEXT, n_best=2, beam_size=3, length_penalty=1.0)
    found = answer["translation"]
    assert answer["model"] == "tiny"
    assert (found["text"], found["score"], found["tokens"]) == (each.text, each.score, each.tokens)
    assert found["token_scores"] == each.token_scores
    assert found["alignment"] == [list(link) for link in each.alignment]
    assert [other["text"] for other in found["alternatives"]] == [each.alternatives[0].text]
    for site, expected in each.attention.sites.items():
        assert found["attention"][site] == expected.tolist()


def test_models_are_chosen_by_name_or_language(client, models):
    lstm = models.get("lstm").translator.translate(TEXT)[0].text
    for choice in ({"model": "lstm"}, {"source": "de", "target": "en"}):
        assert client.post("/v1/translate", json={"text": [TEXT], **choice}).json()["translations"][0]["text"] == lstm
    for choice in ({"model": "../lstm"}, {"source": "de", "target": "fr"}, {"source": "de"}):
        assert client.post("/v1/translate", json={"text": TEXT, **choice}).status_code == 400


def test_a_prefix_is_kept(client):
    answer = client.post("/v1/translate", json={"text": TEXT, "prefix": "die Katze"}).json()
    assert answer["translation"]["text"].startswith("die Katze")


def test_too_long_a_text_has_a_notice(client):
    found = client.post("/v1/translate", json={"text": "dog " * 2000}).json()["translation"]
    assert found["text"] == ""
    assert "2,001 pieces" in found["notice"]


@pytest.mark.parametrize("search", [{"beam_size": 1}, {"beam_size": 4}, {"sampling": True, "seed": 3}])
def test_a_stream_ends_in_the_translation_and_its_pieces_make_it(client, models, search):
    answer = client.post("/v1/translate", json={"text": TEXT, "stream": True, "alignment": True, **search})
    assert answer.headers["content-type"].startswith("text/event-stream")
    *updates, (last, done) = events(answer)
    (each,) = models.get("tiny").translator.translate(TEXT, **search)
    assert last == "done"
    assert done["translation"]["text"] == each.text
    assert done["translation"]["alignment"] == [list(link) for link in each.alignment]
    assert updates
    said = ""
    for name, value in updates:
        if name == "token":
            said += value["text"]
        else:
            assert name == "beam"
            assert value["text"][: value["revised_from"]] == said[: value["revised_from"]]
            said = value["text"]
    if search.get("beam_size") != 4:
        assert said == each.text


def test_a_stream_that_cannot_begin_is_an_error_like_others(client):
    assert client.post("/v1/translate", json={"text": "dog " * 2000, "stream": True}).status_code == 400
    assert client.post("/v1/translate", json={"text": [TEXT], "stream": True}).status_code == 400


@pytest.mark.parametrize("kind", ["transformer", "seq2seq", "convs2s"])
def test_the_weights_of_an_answer_are_counted_before_they_are_computed(tmp_path, kind):
    settings = {"score": "additive"} if kind == "seq2seq" else {}
    translator = load(save_tiny(tmp_path / "model", kind, **settings))
    (each,) = translator.translate(TEXT, prefixes="die Katze")
    expected = sum(site.numel() for site in each.attention.sites.values())
    assert num_weights(translator.loaded[0].model, each) == expected > 0
    (nothing,) = translator.translate("")
    assert num_weights(translator.loaded[0].model, nothing) == 0


@pytest.mark.parametrize("bound", ["MOST_GIVEN", "MOST_LOOKED_AT"])
def test_too_much_attention_is_refused_before_it_is_computed(client, models, monkeypatch, bound):
    translator = models.get("tiny").translator
    (each,) = translator.translate(TEXT)
    one = num_weights(translator.loaded[0].model, each)
    monkeypatch.setattr(weights, bound, 2 * one)
    body = {"text": [TEXT, TEXT], "attention": True}
    assert client.post("/v1/translate", json=body).status_code == 200
    monkeypatch.setattr(translator, "look_at_all", lambda done: pytest.fail("it was computed"))
    answer = client.post("/v1/translate", json=body | {"text": [TEXT] * 3})
    assert answer.status_code == 413
    assert (
        answer.json()["error"]
        == f"{3 * one:,} weights of attention at once; send less text, {2 * one:,} weights at most"
    )
    monkeypatch.setattr(weights, bound, one - 1)
    name, value = events(client.post("/v1/translate", json=body | {"text": TEXT, "stream": True}))[-1]
    assert (name, value["code"]) == ("error", "too_large")
    links = client.post("/v1/translate", json={"text": TEXT, "alignment": True, "stream": True})
    assert events(links)[-1][0] == ("done" if bound == "MOST_GIVEN" else "error")


CHAT = {"turns": ["the cat"]}
COMPLETION = {"messages": [{"role": "user", "content": "the cat"}]}


def test_an_empty_reply_names_its_role_too():
    said = Translation("hi", "", 0.0, 0.0, [], ["hi"], [0.0], [], [1])
    (end, done) = openai._chunks({}, iter([said]))
    assert json.loads(end.removeprefix(b"data: "))["choices"] == [
        {"index": 0, "delta": {"role": "assistant"}, "finish_reason": "stop"}
    ]
    assert b"[DONE]" in done


@pytest.mark.parametrize(
    ("path", "body"),
    [("/v1/translate", {"text": TEXT}), ("/v1/chat", CHAT), ("/v1/chat/completions", COMPLETION)],
)
def test_a_stream_that_waits_for_its_turn_says_that_it_is_still_there(client, models, monkeypatch, path, body):
    monkeypatch.setattr(queued, "PATIENCE", 0.01)
    is_free = threading.Event()

    class FreesWhenNothingCame(queue.SimpleQueue):
        def get(self, **timeout):
            try:
                return super().get(**timeout)
            except queue.Empty:
                is_free.set()
                raise

    monkeypatch.setattr(queued, "SimpleQueue", FreesWhenNothingCame)
    models.worker.call(lambda: is_free.wait(10), Ticket(60.0))
    answer = client.post(path, json=body | {"stream": True}).text
    assert answer.startswith(": still here\n\n")
    assert answer.replace(": still here\n\n", "").count("data: ") >= 2


def test_words_are_pronounced_with_alternatives(client, models):
    answer = client.post("/v1/pronounce", json={"words": ["cat", "dog"], "n_best": 2}).json()
    found = models.get("tiny").translator.translate(["cat", "dog"], n_best=2)
    assert [each["word"] for each in answer["pronunciations"]] == ["cat", "dog"]
    assert [each["phones"] for each in answer["pronunciations"]] == [each.text.split() for each in found]
    assert answer["pronunciations"][0]["alternatives"][0]["score"] == found[0].alternatives[0].score


def test_pairs_are_scored(client, models):
    pairs = [[TEXT, "die Katze sieht den Hund"], ["the cat", ""]]
    answer = client.post("/v1/score", json={"pairs": pairs, "length_penalty": 1.0}).json()
    scored = models.get("tiny").translator.score([tuple(pair) for pair in pairs], length_penalty=1.0)
    assert [each["score"] for each in answer["scores"]] == [each.score for each in scored]
    assert [each["normalised_score"] for each in answer["scores"]] == [each.normalised_score for each in scored]
    assert answer["scores"][0]["token_scores"] == scored[0].token_scores


def test_a_conversation_goes_on_as_it_would_in_the_terminal(client, models):
    search = {"beam_size": 1, "n_best": 1, "max_length": 12, "sampling": True, "temperature": 0.7, "top_k": 0}
    chat = Chat(models.get("tiny").translator, history=3, **search, top_p=0.95, seed=1)
    turns = []
    for text in ("the cat", "the dog", "a house"):
        turns.append(text)
        expected = "".join(chat.reply(text))
        body = {"turns": turns, "history": 3, "max_length": 12}
        assert client.post("/v1/chat", json=body).json()["reply"] == expected
        streamed = events(client.post("/v1/chat", json=body | {"stream": True}))
        assert "".join(value["text"] for name, value in streamed if name == "token") == expected
        assert streamed[-1] == ("done", {"reply": expected})
        turns.append(expected)


def test_openais_clients_find_what_they_know(client, models):
    body = {
        "model": "tiny",
        "messages": [{"role": "system", "content": "be kind"}, {"role": "user", "content": "the cat", "name": "me"}],
        "temperature": 0,
        "max_tokens": 9,
        "n": 1,
        "presence_penalty": 0,
        "user": "x",
    }
    answer = client.post("/v1/chat/completions", json=body).json()
    done = models.get("tiny").translator.translate("the cat", beam_size=1, max_length=9)[0]
    expected, reason = done.text, "length" if done.notice else "stop"
    assert answer["choices"][0]["finish_reason"] == reason
    assert answer["object"] == "chat.completion"
    assert answer["choices"][0]["message"] == {"role": "assistant", "content": expected}
    assert answer["usage"]["total_tokens"] == answer["usage"]["prompt_tokens"] + answer["usage"]["completion_tokens"]
    streamed = events(client.post("/v1/chat/completions", json=body | {"stream": True}))
    assert streamed[-1] == (None, "[DONE]")
    chunks = [value for _, value in streamed[:-1]]
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks) == expected
    assert chunks[-1]["choices"][0]["finish_reason"] == reason


@pytest.mark.parametrize("reason", ["length", "stop"])
def test_openais_clients_are_told_why_a_reply_ends(client, models, reason):
    model, most = ("tiny", 1) if reason == "length" else ("lstm", 60)
    assert (models.get(model).translator.translate(TEXT, beam_size=1, max_length=most)[0].notice is None) == (most > 1)
    messages = [{"role": "user", "content": TEXT}]
    body = {"model": model, "messages": messages, "temperature": 0, "max_tokens": most}
    assert client.post("/v1/chat/completions", json=body).json()["choices"][0]["finish_reason"] == reason
    *_, (_, last), _ = events(client.post("/v1/chat/completions", json=body | {"stream": True}))
    assert last["choices"][0]["finish_reason"] == reason


def test_every_seed_draws_for_itself(client):
    body = COMPLETION | {"temperature": 2, "top_p": 1}
    said = [
        client.post("/v1/chat/completions", json=body | seed).json()["choices"][0]["message"]["content"]
        for seed in ({}, {"seed": 1}, {"seed": 0})
    ]
    assert said[0] == said[1] != said[2]


def test_openais_errors_have_their_own_shape(client):
    answer = client.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": "x"}], "n": 3})
    assert answer.status_code == 400
    assert "n: " in answer.json()["error"]["message"]
    answer = client.post("/v1/chat/completions", json={"messages": [{"role": "system", "content": "x"}]})
    assert "nothing from a user" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("/v1/translate", {"text": TEXT, "beam_size": 10**6}, "64"),
        ("/v1/translate", {"text": TEXT, "max_length": 10**9}, "1024"),
        ("/v1/translate", {"text": TEXT, "max_length": 0}, "greater than or equal to 1"),
        ("/v1/translate", {"text": TEXT, "max_length": -1}, "greater than or equal to 1"),
        ("/v1/translate", {"text": TEXT, "n_best": 9, "beam_size": 2}, "n_best"),
        ("/v1/translate", {"text": TEXT, "temperature": 0.5}, "temperature"),
        ("/v1/translate", {"text": TEXT, "beams": 3}, "beams"),
        ("/v1/translate", {"text": TEXT, "format": "html", "alignment": True}, "format text"),
        ("/v1/pronounce", {"words": []}, "words"),
        ("/v1/score", {"pairs": [["a"]]}, "pairs.0"),
        ("/v1/chat", {"turns": []}, "turns"),
    ],
)
def test_wrong_requests_are_told_what_is_wrong(client, path, body, message):
    answer = client.post(path, json=body)
    assert answer.status_code == 400
    assert message in answer.json()["error"]
    assert answer.json()["code"] == "bad_request"
