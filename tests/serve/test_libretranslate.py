import pytest


def lines(models, *texts, **search):
    return [each.text for each in models.get("tiny").translator.translate(list(texts), **search)]


@pytest.mark.parametrize("send", ["json", "data", "files"])
def test_one_text_is_translated_whatever_form_it_comes_in(client, models, send):
    query = {"q": "the cat sees the dog", "source": "en", "target": "de"}
    if send == "files":
        query = {name: (None, value) for name, value in query.items()}
    answer = client.post("/translate", **{send: query})
    assert answer.status_code == 200
    assert answer.json() == {"translatedText": lines(models, "the cat sees the dog")[0]}


def test_a_list_gives_a_list_and_line_breaks_stay(client, models):
    texts = ["the cat", "", "the dog\n\na small house\n"]
    answer = client.post("/translate", json={"q": texts, "source": "en", "target": "de"}).json()
    cat, dog, house = lines(models, "the cat", "the dog", "a small house")
    assert answer == {"translatedText": [cat, "", f"{dog}\n\n{house}\n"]}


def test_a_form_may_repeat_q(client, models):
    answer = client.post("/translate", data={"q": ["the cat", "the dog"], "source": "en", "target": "de"})
    assert answer.json()["translatedText"] == lines(models, "the cat", "the dog")


def test_alternatives_come_beside_the_best(client, models):
    query = {"q": ["the cat", "the dog"], "source": "en", "target": "de", "alternatives": 3}
    answer = client.post("/translate", json=query).json()
    found = models.get("tiny").translator.translate(["the cat", "the dog"], n_best=4, beam_size=4)
    assert answer["translatedText"] == [each.text for each in found]
    assert answer["alternatives"] == [[other.text for other in each.alternatives] for each in found]


def test_html_keeps_its_tags(client):
    query = {"q": "<p>the <b>cat</b> sees</p><hr>", "source": "en", "target": "de", "format": "html"}
    text = client.post("/translate", json=query).json()["translatedText"]
    assert text.startswith("<p>")
    assert text.endswith("</p><hr>")
    assert text.count("<b>") == text.count("</b>") >= 1


def test_the_same_language_needs_no_model(client):
    query = {"q": "whatever", "source": "de", "target": "de"}
    assert client.post("/translate", json=query).json() == {"translatedText": "whatever"}


def test_each_direction_has_its_own_model(client, models):
    answer = client.post("/translate", json={"q": "die Katze", "source": "de", "target": "en"}).json()
    assert answer["translatedText"] == models.get("lstm").translator.translate("die Katze")[0].text


def test_languages_name_their_targets(client):
    assert client.get("/languages").json() == [
        {"code": "en", "name": "English", "targets": ["de", "en"]},
        {"code": "de", "name": "German", "targets": ["de", "en"]},
    ]


def test_health_and_settings(client):
    assert client.get("/health").json() == {"status": "ok"}
    assert client.get("/frontend/settings").json()["language"]["source"]["code"] == "en"


def test_the_language_is_found_where_the_extra_is_there(client, models):
    pytest.importorskip("py3langid")
    (best, *_) = client.post("/detect", data={"q": "Der Hund spielt mit dem Kind im Garten."}).json()
    assert best["language"] == "de"
    assert 50 < best["confidence"] <= 100
    answer = client.post(
        "/translate", json={"q": ["the dogs play in the snow"], "source": "auto", "target": "de"}
    ).json()
    assert answer["translatedText"] == lines(models, "the dogs play in the snow")
    assert answer["detectedLanguage"][0]["language"] == "en"


def test_without_the_extra_detecting_says_what_is_lacking(client, monkeypatch):
    from regard.serve import language

    monkeypatch.setattr(language, "find_spec", lambda name: None)
    answer = client.post("/detect", json={"q": "Hallo"})
    assert answer.status_code == 501
    assert "regard[detect]" in answer.json()["error"]


def test_a_language_that_cannot_be_told_is_not_supported(client):
    pytest.importorskip("py3langid")
    answer = client.post("/translate", json={"q": ["x", "y"], "source": "auto", "target": "zz"})
    assert answer.status_code == 400
    assert "not supported" in answer.json()["error"]


def test_more_lines_than_could_wait_are_refused(make_client):
    client = make_client(max_queue=5)
    query = {"q": ["a\n\n", "b\nc"], "source": "en", "target": "de"}
    assert client.post("/translate", json=query).status_code == 200
    answer = client.post("/translate", json=query | {"q": "\n" * 5})
    assert (answer.status_code, answer.json()["error"]) == (413, "6 lines at once; send 5 at most")
    assert client.post("/translate", json=query | {"q": "\n" * 5, "format": "html"}).status_code == 200


@pytest.mark.parametrize(
    ("query", "status", "message"),
    [
        ({"q": "x", "source": "en", "target": "fr"}, 400, "not supported"),
        ({"q": "x", "source": "en"}, 400, "target"),
        ({"source": "en", "target": "de"}, 400, "q"),
        ({"q": 5, "source": "en", "target": "de"}, 400, "q"),
        ({"q": "x", "source": "en", "target": "de", "alternatives": 10_000}, 400, "16"),
        ({"q": "x", "source": "en", "target": "de", "format": "pdf"}, 400, "format"),
        ({"q": ["x"] * 513, "source": "en", "target": "de"}, 413, "512"),
        ({"q": "dog " * 2000, "source": "en", "target": "de"}, 400, "2,001 pieces"),
        ([], 400, ""),
        (None, 400, ""),
    ],
)
def test_errors_have_its_shape(client, query, status, message):
    answer = client.post("/translate", json=query)
    assert answer.status_code == status
    assert message in answer.json()["error"]


def test_the_key_may_come_in_the_body(make_client):
    client = make_client(api_key="secret")
    query = {"q": "the cat", "source": "en", "target": "de"}
    assert client.post("/translate", json=query).status_code == 403
    assert client.post("/translate", json=query | {"api_key": "secreT"}).status_code == 403
    assert client.post("/translate", data=query | {"api_key": "secret"}).status_code == 200
    assert client.post("/translate", json=query, headers={"Authorization": "Bearer secret"}).status_code == 200
    assert client.get("/languages").status_code == 403
    client = make_client(api_key="clé")
    assert client.post("/translate", json=query | {"api_key": "clé"}).status_code == 200
    for sent in ("utf-8", "latin-1"):
        headers = {"Authorization": "Bearer clé".encode(sent)}
        assert client.post("/translate", json=query, headers=headers).status_code == 200
