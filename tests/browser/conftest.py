"""A real Chromium, a served page, and pages in files. Skipped, with the reason, where there is no Chromium."""

import re
import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tiny_folder import save_tiny

playwright = pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed (extra `dev`)")
uvicorn = pytest.importorskip("uvicorn", reason="the package uvicorn is not installed (extra `dev`)")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="session")
def browser():
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)")
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def make_page(browser):
    """A page of the given size and colours. Its errors fail the test, and so does what it asks of anybody else."""
    contexts, problems = [], []

    def make(address: str, *, width=1280, height=900, scheme="light", wait=".step"):
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        contexts.append(context)
        opened = context.new_page()
        own = "/".join(address.split("/")[:3]) if address.startswith("http") else address.split("#")[0]
        opened.on("request", lambda request: is_own(request.url, own) or problems.append(request.url))
        opened.on("pageerror", lambda error: problems.append(str(error)))
        opened.on("console", lambda said: is_mistake(said) and problems.append(said.text))
        opened.goto(address)
        opened.wait_for_selector(wait)
        return opened

    yield make
    for context in contexts:
        context.close()
    assert not problems


def is_mistake(said) -> bool:
    """A refusal by the server is no mistake of the page."""
    return said.type == "error" and not re.search("status of 40[04]", said.text)


def is_own(url: str, own: str) -> bool:
    return url.startswith((own, "file:", "data:", "blob:"))  # a file is nobody else


@pytest.fixture(scope="session")
def folders(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    return {
        "tiny": save_tiny(root / "tiny", "transformer"),
        "lstm": save_tiny(root / "lstm", score="additive"),
    }


@pytest.fixture(scope="session")
def served(browser, folders):
    """The address of the explorer with both models behind it."""
    with serving(folders) as address:
        yield address


@contextmanager
def serving(folders: dict[str, Path], pictures: Sequence[Path] = (), settings=None) -> Iterator[str]:
    """The address of an explorer with models by name, while it runs."""
    from regard.serve.app import open_app
    from regard.serve.models import Place

    app = open_app([Place(name, folder) for name, folder in folders.items()], settings, pictures=pictures)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", lifespan="on"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.05)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}/explorer/"
    server.should_exit = True
    thread.join(10)


@pytest.fixture
def in_file(tmp_path):
    """The address of a page that holds a sentence: of a translator, given or found."""
    from regard.pipelines.trace import trace_sentence
    from regard.show.document import document, with_details
    from regard.show.page import page

    def make(translator, text: str, **settings) -> tuple[str, dict]:
        trace = trace_sentence(translator, text, **settings)
        whole = with_details(document(translator, trace, text=text), trace)
        path = tmp_path / "page.html"
        path.write_text(page(whole), encoding="utf-8")
        return path.as_uri(), whole

    return make
