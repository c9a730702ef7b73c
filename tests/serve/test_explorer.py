import base64
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from regard.errors import DataError
from regard.pipelines.trace import trace_sentence
from regard.serve import looking
from regard.serve.app import create_app
from regard.serve.explorer import Explorer
from regard.serve.looking import TraceRequest
from regard.serve.models import Models, Place
from regard.serve.offered import OfferedPictures
from regard.serve.settings import Settings
from regard.serve.ticket import Ticket, VoidError, holding
from regard.serve.worker import Worker
from tiny_captioner import write_scenes
from tiny_kinds import save_every_kind

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
        (
            {"text": "a", "prefix": "die Žebra"},
            "no output can begin with 'die Žebra': the model's vocabulary lacks Žebra",
        ),
        ({"text": "a", "search": {"beam_size": 1000}}, "beam_size"),
        ({"text": "a", "search": {"temperature": 0}}, "temperature"),
        ({"text": "a", "search": {"temperature": 2}}, "no effect without `sampling"),
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
    monkeypatch.setattr(looking, "MOST_TRACES", 1)
    ask(client)
    assert client.get(f"/api/v1/trace/{number}/sites/decoder.0.cross").status_code == 200
    ask(client)
    ask(client)
    assert client.get(f"/api/v1/trace/{number}/sites/decoder.0.cross").status_code == 404


def test_two_traces_are_compared_however_large_they_are(client, monkeypatch):
    monkeypatch.setattr(looking, "MOST_BYTES", 1)
    answer = ask(client, "compare", model="tiny", other="lstm").json()
    for each, site in ((answer["trace"], "decoder.0.cross"), (answer["other"], "decoder.cross")):
        assert client.get(f"/api/v1/trace/{each['id']}/sites/{site}").status_code == 200


def test_what_was_overridden_has_no_divergence(client):
    plain = ask(client).json()
    row = [1.0] + [0.0] * (len(plain["ids"]["source"]) - 1)
    given = {"site": "decoder.0.cross", "head": 0, "query": 0, "weights": row}
    answer = ask(client, "compare", model="tiny", other="lstm", override=given).json()
    assert answer["divergence"] is None
    assert answer["reason"] == "With changed attention the two are not compared step by step."


@pytest.mark.parametrize("override", [False, True])
def test_a_trace_that_nobody_waits_for_ends_with_its_next_step(models, monkeypatch, override):
    """In the worker: a client that leaves in the middle of a search frees the others."""
    model, steps, ticket = models.get("tiny").translator.loaded[0].model, [], Ticket(60.0)
    step = model.step

    def leave(*arguments):
        steps.append(len(steps))
        if len(steps) == 2:
            ticket.cancel()
        return step(*arguments)

    monkeypatch.setattr(model, "step", leave)
    given = {"site": "decoder.0.cross", "head": 0, "query": 0, "weights": [1.0]} if override else None
    request = TraceRequest.model_validate({"text": TEXT, "model": "tiny", "override": given})
    with holding(ticket), pytest.raises(VoidError):
        Explorer(models, OfferedPictures()).one(request, TEXT)
    assert len(steps) == 2


def test_what_is_drawn_is_the_models_chance(client):
    """Temperature and cuts are those of the sampler; without them there is no chance to show."""
    drawn = ask(client, search={"sampling": True, "temperature": 0.5, "top_k": 3, "seed": 7}).json()
    assert drawn["search"]["sampling"]
    assert drawn["tree"] == []
    for step in drawn["steps"]:
        found = [each["chance"] for each in step["alternatives"]]
        best = np.array([each["log_prob"] for each in step["alternatives"][:3]]) / 0.5
        assert found[:3] == pytest.approx(np.exp(best) / np.exp(best).sum(), abs=1e-6)
        assert set(found[3:]) <= {0.0}
    assert ask(client).json()["steps"][0]["alternatives"][0]["chance"] is None


@pytest.fixture(scope="module")
def seeing(tmp_path_factory):
    """A client of models that see or label, and the pictures that they are offered."""
    root = tmp_path_factory.mktemp("seeing")
    folders = save_every_kind(
        root, ["captioner", "glimpse", "image attention", "image volume", "text attention", "tagger"]
    )
    write_scenes(root / "pictures", 2)
    offered = OfferedPictures([root / "pictures"])
    models = Models([Place(name.replace(" ", "-"), folder) for name, folder in folders.items()], Worker())
    app = create_app(models, Settings(), offered)
    yield TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False)
    models.worker.stop(1.0)


def look(client, model, picture=0, path="picture/trace", **request):
    return client.post(f"/api/v1/{path}", json={"picture": picture, "model": model, **request})


def png(size=(40, 30)) -> str:
    file = BytesIO()
    Image.new("RGB", size, "red").save(file, format="PNG")
    return base64.b64encode(file.getvalue()).decode()


def test_pictures_are_offered_and_taken(seeing):
    listed = seeing.get("/api/v1/models").json()
    assert [each["name"] for each in listed["pictures"]] == ["0.png", "1.png"]
    assert {each["name"]: (each["reads"], each["says"]) for each in listed["models"]} == {
        "captioner": ("picture", "text"),
        "glimpse": ("picture", "labels"),
        "image-attention": ("picture", "labels"),
        "image-volume": ("picture", "labels"),
        "text-attention": ("text", "labels"),
        "tagger": ("text", "labels"),
    }
    for model in ("captioner", "glimpse", "image-attention", "image-volume"):
        offered, sent = look(seeing, model).json(), look(seeing, model, png()).json()
        assert offered["picture"]["address"] != sent["picture"]["address"]
        for answer in (offered, sent):
            lost = numbers(seeing.get(f"/api/v1/trace/{answer['id']}/influence").json())
            assert lost.shape == (len(answer["steps"]), answer["picture"]["rows"] * answer["picture"]["columns"])
            assert np.isfinite(lost).all()


def test_every_glimpse_has_its_place_and_its_answer(seeing):
    answer = look(seeing, "glimpse").json()
    boxes = numbers(answer["glimpses"])
    assert boxes.shape == (3, 2, 4)
    assert answer["steps_are"] == "glimpse"
    assert len(answer["steps"]) == 3
    assert answer["translation"] == answer["sides"]["target"]["pieces"][-1]


def test_what_a_label_depends_on(seeing):
    for model, places in (("text-attention", 1), ("tagger", 5)):
        answer = ask(seeing, model=model).json()
        assert len(answer["steps"]) == places
        lost = numbers(answer["influence"])
        assert lost.shape == (places, 5)
        if places > 1:
            assert (lost.diagonal() == 0).all()  # a word that is not there has no tag to lose
    plain = ask(seeing, model="text-attention").json()
    (site,) = plain["sites"]
    row = [1.0] + [0.0] * (site["weights"]["shape"][2] - 1)
    given = {"site": site["name"], "head": 0, "query": 0, "weights": row}
    changed = ask(seeing, model="text-attention", override=given).json()
    assert numbers(changed["sites"][0]["weights"])[0, 0].tolist() == row
    assert changed["steps"][0]["log_prob"] != plain["steps"][0]["log_prob"]


def test_a_captioner_obeys_prefix_override_and_search(seeing):
    plain = look(seeing, "captioner").json()
    other = next(
        each["token"]
        for each in plain["steps"][0]["alternatives"]
        if each["token"] not in (2, plain["ids"]["target"][0])
    )
    assert look(seeing, "captioner", prefix=[other]).json()["ids"]["target"][0] == other
    assert "no output can begin with" in look(seeing, "captioner", prefix="Žebra").json()["error"]
    regions = plain["picture"]["rows"] * plain["picture"]["columns"]
    row = [0.0] * (regions - 1) + [1.0]
    given = {"site": plain["sites"][0]["name"], "head": 0, "query": 1, "weights": row}
    changed = look(seeing, "captioner", override=given).json()
    assert numbers(changed["sites"][0]["weights"])[0, 1].tolist() == row


def test_two_that_see_are_compared_and_unlike_ones_refused(seeing):
    same = look(seeing, "captioner", path="picture/compare", other="captioner").json()
    assert same["divergence"] == pytest.approx([0.0] * len(same["trace"]["steps"]), abs=1e-9)
    labels = look(seeing, "image-attention", path="picture/compare", other="image-volume").json()
    assert len(labels["divergence"]) == 1
    unlike = look(seeing, "glimpse", path="picture/compare", other="image-volume").json()
    assert "different numbers of steps" in unlike["reason"]
    mixed = look(seeing, "captioner", path="picture/compare", other="tagger")
    assert (mixed.status_code, "one reads pictures, the other text" in mixed.json()["error"]) == (400, True)


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        ("no base64!", "not in base64"),
        (base64.b64encode(b"%!PS-Adobe-3.0 EPSF-3.0").decode(), "not a picture of a format that is read (JPEG, PNG"),
        (png((9000, 5000)), "a picture of 9,000 x 5,000 pixels; at most 40,000,000 are read"),
        (png()[:60], "damaged"),
        (99, "there is no picture 99; 2 were named"),
    ],
)
def test_what_is_no_picture_is_refused_in_one_sentence(seeing, picture, message):
    answer = look(seeing, "captioner", picture)
    assert answer.status_code == 400
    assert message in answer.json()["error"]


def test_a_model_gets_what_it_reads(seeing, make_client):
    assert "captioner reads a picture" in ask(seeing, model="captioner").json()["error"]
    assert "tagger reads a text" in look(seeing, "tagger").json()["error"]
    small = make_client(max_picture=2000)
    assert look(small, "tiny", "A" * 3000).status_code == 413


def test_pictures_that_cannot_be_offered_are_told_at_the_start(tmp_path):
    (tmp_path / "x.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"x\.png: not a picture"):
        OfferedPictures([tmp_path / "x.png"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no pictures"):
        OfferedPictures([tmp_path / "empty"])
