"""Labels over HTTP are those of the classifier, of texts and of pictures."""

import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image
from starlette.testclient import TestClient

import regard
from regard.checkpoint.model_folder import dimensions_of, save_model
from regard.data.dataset import Vocabularies
from regard.data.picture_reader import PictureConfig, PictureReader
from regard.data.tokenizer import TokenizerConfig, learn
from regard.decoding.search import SearchConfig
from regard.models import image_classifier, text_classifier
from regard.pipelines.caption import Captioner
from regard.serve.app import create_app
from regard.serve.models import Models, Place
from regard.serve.settings import Settings
from regard.serve.worker import Worker
from tiny_captioner import save_tiny_captioner, write_scenes
from tiny_folder import TEXTS


def save(folder, module, source, **settings):
    vocabularies = Vocabularies(source, learn(TokenizerConfig(kind="labels"), ["HOT", "COLD", "MILD"]))
    config = module.Config.model_validate(settings)
    torch.manual_seed(3)
    model = module.build(config, dimensions_of(vocabularies))
    save_model(folder, model, config=config, vocabularies=vocabularies, search=SearchConfig())
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("labels")
    words = learn(TokenizerConfig(kind="words"), TEXTS)
    pictures = PictureReader(PictureConfig(size=[8, 8]))
    return (
        save(root / "weather", text_classifier, words, preset="attention", embedding_size=8, size=8),
        save(root / "digits", image_classifier, pictures, hidden=[8]),
    )


@pytest.fixture(scope="module")
def client(folders, tiny_folders):
    places = [Place(folder.name, folder) for folder in (*folders, tiny_folders[0])]
    app = create_app(Models(places, Worker()), Settings())
    return TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False)


def picture_file(size=(20, 12)):
    pixels = np.random.default_rng(1).integers(0, 255, (*size, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def test_texts_get_their_labels(client, folders):
    texts = ["the cat sees the dog", "", "a small house"]
    answer = client.post("/v1/classify", json={"text": texts, "n_best": 2, "attention": True}).json()
    found = regard.Classifier.load(folders[0]).classify(texts)
    assert answer["model"] == "weather"
    for values, each in zip(answer["classifications"], found, strict=True):
        assert (values["text"], values["label"], values["probability"]) == (each.source, each.label, each.probability)
    assert answer["classifications"][0]["probabilities"] == dict(list(found[0].probabilities[0].items())[:2])
    site, weights = next(iter(found[0].attention.items()))
    assert answer["classifications"][0]["attention"][site] == weights.tolist()


def test_a_picture_gets_its_label(client, folders, tmp_path):
    (tmp_path / "x.png").write_bytes(picture_file())
    body = {"picture": base64.b64encode(picture_file()).decode(), "n_best": 3}
    answer = client.post("/v1/classify/picture", json=body).json()
    with torch.inference_mode():
        (found,) = regard.PictureClassifier.load(folders[1]).classify([tmp_path / "x.png"])
    assert answer["classification"]["label"] == found.label
    assert answer["classification"]["probabilities"] == found.probabilities


@pytest.mark.parametrize(
    "picture", ["", "%%", "QUJD", base64.b64encode(picture_file()[:200]).decode(), "http://a.b/c.png"]
)
def test_what_is_no_picture_is_refused(client, picture):
    assert client.post("/v1/classify/picture", json={"picture": picture}).status_code == 400


def test_every_model_is_only_for_what_it_can_do(client):
    assert [model["id"] for model in client.get("/v1/models").json()["data"]] == ["weather", "digits", "tiny"]
    assert client.get("/health/ready").status_code == 200
    assert client.post("/v1/translate", json={"text": "the cat"}).json()["model"] == "tiny"
    for path, body in (
        ("/v1/translate", {"text": "x", "model": "weather"}),
        ("/v1/classify", {"text": "x", "model": "tiny"}),
        ("/v1/classify/picture", {"picture": "", "model": "weather"}),
    ):
        answer = client.post(path, json=body)
        assert answer.status_code == 400
        assert "no model that" in answer.json()["error"]
    assert client.get("/api/v1/models").status_code == 200


@pytest.fixture(scope="module")
def captions(tmp_path_factory):
    folder = tmp_path_factory.mktemp("captions")
    write_scenes(folder / "scenes")
    save_tiny_captioner(folder / "captioner")
    app = create_app(Models([Place("scenes", folder / "captioner")], Worker()), Settings())
    return TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False), folder


def test_a_picture_gets_its_caption_in_json_and_in_a_form(captions):
    client, folder = captions
    picture = folder / "scenes" / "1.png"
    (found,) = Captioner.load(folder / "captioner").caption(picture, n_best=2)
    fields = {"n_best": 2, "attention": True}
    encoded = base64.b64encode(picture.read_bytes()).decode()
    for sent in (
        {"json": {"picture": encoded, **fields}},
        {"data": {"n_best": "2", "attention": "true"}, "files": {"picture": ("x.png", picture.read_bytes())}},
    ):
        answer = client.post("/v1/caption", **sent).json()
        assert answer["model"] == "scenes"
        assert (answer["caption"]["text"], answer["caption"]["score"]) == (found.text, found.score)
        assert answer["caption"]["alternatives"][0]["text"] == found.alternatives[0].text
        assert answer["caption"]["maps"] == found.maps.tolist()
    assert client.get("/health/ready").status_code == 200
    refused = client.post("/v1/caption", files=[("picture", ("x.png", b"x")), ("picture", ("y.png", b"y"))])
    assert refused.status_code == 400
    assert client.post("/v1/caption", files={"picture": ("../../x", b"GIF89a")}).status_code == 400
