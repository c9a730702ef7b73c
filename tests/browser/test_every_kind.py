"""Every kind of model, served: what one can give it, what the page shows of it, and what can be done with that."""

import base64
import re
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image
from playwright.sync_api import expect

from browser.conftest import serving
from browser.lessons import answer_wrongly_and_rightly
from browser.test_states import becomes, serious
from regard.models.glimpse import Sensor
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


@pytest.mark.parametrize("name", ["text attention", "tagger", "image attention", "glimpse", "captioner"])
def test_lessons_of_other_kinds_are_checked_too(make_page, everything, name):
    page = make_page(f"{everything}#m={slug(name)}&s=the+cat+sees+the+dog")
    address = everything.removesuffix("explorer/") + "api/v1/"
    path, source = ("picture/trace", {"picture": 0}) if page.locator(".pictures").count() else ("trace", {"text": TEXT})
    answer = page.request.post(address + path, data={"model": slug(name), **source})
    lessons = answer.json()["lessons"]
    page.keyboard.press("l")
    assert len(answer_wrongly_and_rightly(page, lessons)) == len(lessons) >= 1


def test_a_picture_is_uploaded_dropped_and_refused(make_page, everything, tmp_path):
    page = make_page(f"{everything}#m=captioner")
    pictures = page.locator(".offered")
    expect(pictures).to_have_count(3)
    first = page.locator(".pane image").first.get_attribute("href")
    pictures.nth(1).click()
    expect(page).to_have_url(re.compile("p=1"))
    expect(page.locator(".pane image").first).not_to_have_attribute("href", first)
    Image.new("RGB", (50, 40), "blue").save(tmp_path / "mine.png")
    page.locator(".pictures input").set_input_files(tmp_path / "mine.png")
    expect(page.locator(".drop[aria-pressed=true]")).to_contain_text("mine.png")
    expect(page.locator(".error")).to_have_count(0)
    (tmp_path / "no.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0 <img src=x onerror=alert(1)>")
    page.locator(".pictures input").set_input_files(tmp_path / "no.png")
    expect(page.locator(".error")).to_contain_text("not a picture of a format that is read (JPEG, PNG")
    drop(page, 20 << 20, "huge.png")
    expect(page.locator(".error")).to_contain_text("huge.png has 20.0 MB; a picture may have 12.0 MB")
    page.locator("header select").first.select_option("tagger")
    expect(page.locator("#source")).to_be_visible()
    drop(page, 10, "x.png")
    expect(page.locator(".error")).to_contain_text("This model reads text")


def drop(page, size: int, name: str) -> None:
    page.evaluate(
        """([size, name]) => {
          const data = new DataTransfer();
          data.items.add(new File([new Uint8Array(size)], name, { type: "image/png" }));
          window.dispatchEvent(new DragEvent("drop", { dataTransfer: data }));
        }""",
        [size, name],
    )


def test_a_captioner_can_be_made_to_look_elsewhere(make_page, everything):
    page = make_page(f"{everything}#m=captioner")
    page.locator(".film button").nth(1).click()
    page.locator(".pane svg.seen").click(position={"x": 8, "y": 8})
    expect(page.locator("#arithmetic-title")).to_contain_text("row 1, column 1")
    before = page.locator("footer").inner_text()
    page.get_by_role("button", name="only at").click()
    page.wait_for_selector(".consequence")
    assert "only at row 1, column 1" in page.locator(".consequence").inner_text()
    assert page.locator("footer").inner_text() != before


def test_the_path_of_glimpses_is_the_models(make_page, everything):
    page = make_page(f"{everything}#m=glimpse&p=1&t=1")
    answer = page.request.post(
        everything.removesuffix("explorer/") + "api/v1/picture/trace", data={"model": "glimpse", "picture": 1}
    ).json()
    boxes = np.frombuffer(base64.b64decode(answer["glimpses"]["base64"]), "<f4").reshape(3, 2, 4)
    rects = page.locator(".path .box").evaluate_all(
        """all => all.map((r) => [r.dataset.glimpse, r.dataset.scale,
          ...['y', 'x', 'height', 'width'].map((a) => r.getAttribute(a))].map(Number))"""
    )
    scale = page.locator(".path image").evaluate("image => Number(image.getAttribute('width'))") / 32
    assert {(t, s) for t, s, *_ in rects} == {(0, 0), (1, 0), (1, 1), (2, 0)}  # all scales of the one that is looked at
    for t, s, *found in rects:
        assert np.array(found) / scale == pytest.approx(boxes[int(t), int(s)], abs=1e-3)
    page.locator(".path .stop").nth(2).click()
    expect(page.locator("#step-title")).to_contain_text("Glimpse 3")
    cells = page.locator(".answers tbody tr").evaluate_all(
        """rows => rows.map((row) => [row.querySelector('th').innerText,
          ...[...row.querySelectorAll('td')].map((td) => Number(td.style.getPropertyValue('--strength')))])"""
    )
    for label, *found in cells:
        for step, probability in zip(answer["steps"], found, strict=True):
            expected = next(each["log_prob"] for each in step["alternatives"] if each["piece"] == label)
            assert probability == pytest.approx(np.exp(expected), abs=1e-3)


def test_a_patch_shows_what_the_sensor_saw(make_page, everything, tmp_path):
    """The page makes the patches from the picture's pixels; they are those that the model got, to a 255th."""
    page = make_page(f"{everything}#m=glimpse&p=0&t=2")
    page.wait_for_timeout(200)
    shown = page.locator(".patches canvas").evaluate_all(
        "all => all.map((c) => [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data])"
    )
    answer = page.request.post(
        everything.removesuffix("explorer/") + "api/v1/picture/trace", data={"model": "glimpse", "picture": 0}
    ).json()
    boxes = np.frombuffer(base64.b64decode(answer["glimpses"]["base64"]), "<f4").reshape(3, 2, 4)
    content = base64.b64decode(answer["picture"]["address"].partition(",")[2])
    pixels = torch.from_numpy(np.asarray(Image.open(BytesIO(content))).copy()).permute(2, 0, 1)[None].float()
    top, left = boxes[2, 0, :2]
    location = torch.tensor([[(top + 3) / 24 * 2 - 1, (left + 3) / 32 * 2 - 1]])
    seen = Sensor(6, 2)(pixels, location)[0]  # (scales, channels, 6, 6)
    for scale, canvas in enumerate(shown):
        found = np.array(canvas).reshape(6, 6, 4)
        inside = found[..., 3:] / 255
        assert (found[..., :3] * inside).transpose(2, 0, 1) == pytest.approx(seen[scale].numpy(), abs=2.0)
