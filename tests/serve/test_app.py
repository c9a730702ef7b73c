import re

import pytest

from regard.errors import UsageError
from regard.serve.models import Models, Place
from regard.serve.settings import Settings, refuse_open_server


def test_health_says_that_the_server_lives_and_that_its_models_work(client):
    assert client.get("/health/live").json() == {"status": "ok"}
    assert client.get("/health/ready").json() == {"status": "ok"}


def test_models_are_listed_as_openai_does(client):
    answer = client.get("/v1/models").json()
    assert [(model["id"], model["source"]) for model in answer["data"]] == [("tiny", "en"), ("lstm", "de")]


def test_what_is_not_there_is_said_in_one_shape(client):
    answer = client.get("/nothing", headers={"X-Request-Id": "mine-1"})
    assert answer.status_code == 404
    assert answer.json() == {"error": "Not Found", "code": "not_found", "request_id": "mine-1"}
    assert answer.headers["x-request-id"] == "mine-1"


@pytest.mark.parametrize("path", ["/", "/docs", "/explorer/", "/openapi.json", "/nothing"])
def test_every_answer_forbids_what_comes_from_elsewhere(client, path):
    policy = client.get(path).headers["content-security-policy"]
    assert re.match("default-src '(self|none)'", policy)
    assert "unsafe" not in policy


def test_pages_name_nothing_outside_this_server(client):
    for path in ("/docs", "/static/docs.js", "/static/docs.css", "/explorer/"):
        text = client.get(path).text
        assert "//" not in text.replace("// ", "")
        assert "http:" not in text


@pytest.mark.parametrize(
    "path",
    ["/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2fapp.py", "/static-evil", "/explorer/..\\app.py"],
)
def test_only_files_of_the_page_are_given_out(client, path):
    assert client.get(path).status_code == 404


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("runs/small", ("small", "runs/small", None, None)),
        ("runs/small/model:en-de", ("small", "runs/small/model", "en", "de")),
        ("chat=runs/b", ("chat", "runs/b", None, None)),
        ("x=a:b/c:zh_Hans-en", ("x", "a:b/c", "zh_Hans", "en")),
    ],
)
def test_a_model_on_the_command_line(text, place):
    found = Place.parse(text)
    assert (found.name, str(found.folder), found.source, found.target) == place


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("runs/c:xx", r"'xx' is no pair of languages; write runs/c:en-de, or runs/c alone"),
        ("a=runs/c:en_de", r"'en_de' is no pair of languages"),
        ("my model=runs/c", r"'my model' is no name"),
        ("", r"a model is|A model is"),
    ],
)
def test_a_mark_that_parts_nothing_is_explained(text, message):
    with pytest.raises(UsageError, match=message):
        Place.parse(text)


def test_a_folder_that_has_such_a_mark_in_its_name_is_that_folder(tmp_path):
    folder = tmp_path / "c:xx"
    folder.mkdir()
    assert Place.parse(str(folder)) == Place("c:xx", folder)


def test_two_models_need_two_names(models, tiny_folders):
    with pytest.raises(UsageError, match="two models are called tiny"):
        Models([Place("tiny", folder) for folder in tiny_folders], models.worker)


def test_a_server_for_others_wants_a_key():
    with pytest.raises(UsageError, match="REGARD_API_KEY"):
        refuse_open_server(Settings(host="0.0.0.0"), insecure=False)
    refuse_open_server(Settings(host="0.0.0.0"), insecure=True)
    refuse_open_server(Settings(host="0.0.0.0", api_key="secret"), insecure=False)
    refuse_open_server(Settings(host="::1"), insecure=False)
