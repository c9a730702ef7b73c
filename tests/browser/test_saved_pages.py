"""The pictures of the explorer in the documents, made from the shipped model (into REGARD_PICTURES, if that is set)."""

import os
from pathlib import Path

import pytest

import regard

pytestmark = pytest.mark.browser
TEXT = "The old man is reading a book in the garden."


@pytest.mark.parametrize(("scheme", "keys"), [("light", []), ("dark", ["l", "h"])])
def test_the_pictures_of_the_documents(make_page, in_file, scheme, keys):
    address, _ = in_file(regard.load(), TEXT)
    page = make_page(address + "#t=3", width=1240, height=860, scheme=scheme)
    for key in keys:
        page.keyboard.press(key)
    page.wait_for_selector(".check.fine")
    page.wait_for_timeout(300)
    picture = page.screenshot()
    assert len(picture) > 50_000
    if "REGARD_PICTURES" in os.environ:
        (Path(os.environ["REGARD_PICTURES"]) / f"explorer-{scheme}.png").write_bytes(picture)
