"""Every kind of model, served: what one can give it, what the page shows of it, and what can be done with that."""

import pytest
from playwright.sync_api import expect

from browser.conftest import serving
from browser.test_states import becomes, serious
from tiny_captioner import write_scenes
from tiny_kinds import CAPTIONERS, GENERATORS, KINDS, LABELLERS, SEEING, save_every_kind

pytestmark = pytest.mark.browser
TEXT = "the cat sees the dog"
HAS_SOURCE_ATTENTION = (
    "transformer", "experts", "dot", "multiplicative", "additive", "convs2s", "gnmt", "deep_att", "moe",
    "text attention", "image attention", "captioner", "captioner hard", "captioner transformer",
)  # fmt: skip
HAS_EXPERTS = ("experts", "moe")
HAS_BOTTLENECK = ("no attention", "captioner none")
WIDTHS = (360, 768, 1920)


def slug(name: str) -> str:
    return name.replace(" ", "-")


@pytest.fixture(scope="module")
def everything(browser, tmp_path_factory):
    root = tmp_path_factory.mktemp("kinds")
    folders = {slug(name): folder for name, folder in save_every_kind(root).items()}
    write_scenes(root / "pictures", 3)
    with serving(folders, [root / "pictures"]) as address:
        yield address


def test_no_kind_is_left_out():
    assert set(KINDS) == {*GENERATORS, *LABELLERS, *SEEING, *CAPTIONERS}


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_is_looked_at_live(make_page, everything, name):
    page = make_page(f"{everything}#m={slug(name)}&s=the+cat+sees+the+dog", scheme="dark" if len(name) % 2 else "light")
    seeing = name in SEEING or name in CAPTIONERS
    expect(page.locator(".composer .output bdi")).to_have_count(1)
    assert page.locator(".pictures").count() == int(seeing)
    assert page.locator("#source").count() == int(not seeing)
    shown = [".step .said"]
    if name in HAS_SOURCE_ATTENTION:
        shown += [".arithmetic .check.fine", ".pane svg.seen .shade" if seeing else ".pane .links .ground path"]
    if name in HAS_EXPERTS:
        shown.append(".experts table")
    if name in HAS_BOTTLENECK:
        shown.append(".bottleneck img")
    if name not in HAS_SOURCE_ATTENTION and name != "language model":
        shown.append(".influence svg.seen .shade" if seeing else ".influence table")
    if name in GENERATORS or name in CAPTIONERS:
        shown += [".tree .node.dead", ".options .slider"]
    if name == "glimpse":
        shown += [".path .box.now", ".answers table"]
    for selector in shown:
        page.wait_for_selector(selector, timeout=8000)
    assert page.locator(".check.wrong").count() == 0
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 800})
        assert becomes(page, "document.documentElement.scrollWidth <= innerWidth"), f"{width} pixels are too few"
    assert serious(page) == []
