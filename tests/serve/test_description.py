"""What the server says of itself holds: requests drawn from its description are answered as it describes, never by 5xx.

Schemathesis draws them: right ones, and ones that are wrong in some field. (Its pytest plugin is switched off.)
"""

import hypothesis
import pytest
from hypothesis import strategies as st
from starlette.testclient import TestClient
from test_together import folder as folder  # a model that labels texts

from regard.serve.app import create_app
from regard.serve.models import Models, Place
from regard.serve.settings import Settings
from regard.serve.worker import Worker
from tiny_captioner import save_tiny_captioner

# The library that draws the requests uses `random` in a strategy, of which Hypothesis warns at some seeds.
pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")

schemathesis = pytest.importorskip("schemathesis", reason="the package schemathesis is not installed (extra `dev`)")
SERVER_ERROR = 500


@pytest.fixture(scope="module")
def client(tiny_folders, folder, tmp_path_factory):
    captioner = save_tiny_captioner(tmp_path_factory.mktemp("captioner") / "tiny")
    places = [Place("tiny", tiny_folders[0], "en", "de"), Place("weather", folder), Place("scenes", captioner)]
    app = create_app(Models(places, Worker()), Settings(max_queue=10_000))
    return TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False)


def operations(client):
    schema = schemathesis.openapi.from_dict(client.get("/openapi.json").json())
    return [found.ok() for found in schema.get_all_operations()]


def ask_and_check(client, number: int) -> None:
    """Draw so many requests, and hold every answer against the description."""
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi.checks import response_schema_conformance, status_code_conformance

    checks = [not_a_server_error, response_schema_conformance, status_code_conformance]
    modes = schemathesis.GenerationMode
    drawn = st.sampled_from(operations(client)).flatmap(
        lambda operation: (
            operation.as_strategy(generation_mode=modes.POSITIVE)
            | operation.as_strategy(generation_mode=modes.NEGATIVE)
        )
    )

    @hypothesis.settings(
        max_examples=number,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
        phases=[hypothesis.Phase.generate],
    )
    @hypothesis.given(case=drawn)
    def check(case):
        sent = case.as_transport_kwargs(base_url="http://127.0.0.1")
        sent.pop("cookies", None)
        if isinstance(sent.get("data"), bytes | str):
            sent["content"] = sent.pop("data")
        # A form has texts only, and the client does not make them of numbers.
        for place, (name, (file, value, *rest)) in enumerate(sent.get("files") or ()):
            text = value if isinstance(value, bytes | str) else str(value)
            sent["files"][place] = (name, (file, text, *rest))
        answer = client.request(**sent)
        assert answer.status_code < SERVER_ERROR or "not_installed" in answer.text, (sent, answer.text)
        case.validate_response(answer, checks=checks)

    check()


def test_answers_are_as_described(client):
    ask_and_check(client, 60)


@pytest.mark.slow
def test_very_many_answers_are_as_described(client):
    ask_and_check(client, 2000)


def test_no_route_is_described_with_an_answer_that_it_never_gives(client):
    for operation in operations(client):
        assert "422" not in operation.definition.raw["responses"]
