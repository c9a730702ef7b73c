"""The pictures of the explorer in the documents, made from the shipped models (into REGARD_PICTURES if set)."""

import os
from pathlib import Path

import pytest

import regard
from regard.checkpoint.shipped import FOLDER, examples
from regard.cli.show_picture import show_picture

pytestmark = pytest.mark.browser
TEXT = "The old man is reading a book in the garden."


def shoot(page, name: str) -> None:
    """A screenshot, kept under this name where pictures are asked for."""
    page.wait_for_timeout(300)
    picture = page.screenshot()
    assert len(picture) > 50_000
    if "REGARD_PICTURES" in os.environ:
        (Path(os.environ["REGARD_PICTURES"]) / f"{name}.png").write_bytes(picture)


@pytest.mark.parametrize(
    ("model", "text", "name", "scheme", "keys"),
    [
        ("en-de", TEXT, "explorer-light", "light", []),
        ("en-de", TEXT, "explorer-dark", "dark", ["l", "h"]),
        ("pronounce", "attention", "explorer-pronounce", "light", []),
    ],
)
def test_the_pictures_of_the_documents(make_page, in_file, model, text, name, scheme, keys):
    address, _ = in_file(regard.load(FOLDER / model), text)
    page = make_page(address + "#t=3", width=1240, height=860, scheme=scheme)
    for key in keys:
        page.keyboard.press(key)
    page.wait_for_selector(".check.fine")
    shoot(page, name)


def test_the_picture_of_a_scene(make_page, tmp_path):
    path, picture = tmp_path / "page.html", examples(FOLDER / "scenes")[0]
    show_picture(FOLDER / "scenes", str(picture), path, device="cpu", threads=1)
    shoot(make_page(path.as_uri() + "#t=3", width=1240, height=860), "explorer-scenes")
