import json

import pytest

from regard.pipelines.chat import Chat

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
    for site, weights in each.attention.sites.items():
        assert found["attention"][site] == weights.tolist()


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
    expected = models.get("tiny").translator.translate("the cat", beam_size=1, max_length=9)[0].text
    assert answer["object"] == "chat.completion"
    assert answer["choices"][0]["message"] == {"role": "assistant", "content": expected}
    assert answer["usage"]["total_tokens"] == answer["usage"]["prompt_tokens"] + answer["usage"]["completion_tokens"]
    streamed = events(client.post("/v1/chat/completions", json=body | {"stream": True}))
    assert streamed[-1] == (None, "[DONE]")
    chunks = [value for _, value in streamed[:-1]]
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks) == expected
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"


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
