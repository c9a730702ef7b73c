"""The examples of docs/serve.md, run as they stand there against a server."""

import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from test_live_server import granian

from documented_commands import blocks
from regard.serve.app import create_app
from regard.serve.models import Models, Place
from regard.serve.settings import Settings
from regard.serve.worker import Worker

TEXT = (Path(__file__).parents[2] / "docs" / "serve.md").read_text(encoding="utf-8")
PYTHON = [block for block in blocks(TEXT, "python") if "uvicorn" not in block]
CURL = [line for block in blocks(TEXT, "sh") for line in block.splitlines() if line.startswith("curl")]


@pytest.fixture(scope="module")
def port(tiny_folders):
    settings = Settings(port=0)
    with granian(
        create_app(Models([Place("tiny", tiny_folders[0], "en", "de")], Worker()), settings), settings
    ) as port:
        yield port


@pytest.mark.parametrize("line", CURL)
def test_a_line_of_curl_is_answered(port, line):
    words = shlex.split(line.replace("127.0.0.1:5000", f"127.0.0.1:{port}"))
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    answer = json.loads(done.stdout)
    assert "translatedText" in answer or answer["translation"]["alignment"]


@pytest.mark.parametrize("code", PYTHON)
def test_a_block_of_python_runs(port, code, capsys):
    exec(code.replace(":5000", f":{port}"), {})  # noqa: S102
    assert capsys.readouterr().out.strip()


def test_every_route_that_is_described_is_there_and_every_one_that_is_there_is_described(client):
    there = set(client.get("/openapi.json").json()["paths"])
    described = set(re.findall(r"`(/[\w/]+)`", TEXT)) - {"/docs", "/explorer/"}
    assert described - there == set()
    assert {path for path in there if not path.startswith("/api/")} - described == set()
