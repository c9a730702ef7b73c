"""Served models, and clients that speak with them."""

import pytest
from starlette.testclient import TestClient

from regard.serve.app import create_app
from regard.serve.models import Models, Place
from regard.serve.settings import Settings
from regard.serve.worker import Worker
from tiny_folder import save_tiny


@pytest.fixture(scope="session")
def tiny_folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("served")
    return save_tiny(root / "tiny", "transformer"), save_tiny(root / "lstm", score="additive")


@pytest.fixture(scope="session")
def models(tiny_folders):
    tiny, lstm = tiny_folders
    return Models([Place("tiny", tiny, "en", "de"), Place("lstm", lstm, "de", "en")], Worker())


@pytest.fixture
def make_client(models):
    """A client of an application with the given settings; what it raises is an answer."""

    def make(**settings):
        app = create_app(models, Settings(**settings))
        return TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False)

    return make


@pytest.fixture
def client(make_client):
    return make_client()
