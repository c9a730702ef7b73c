"""What the page must bear: links that anybody wrote, files of any content, refusals, one more override, other input."""

import json
import re

import pytest
import torch
from playwright.sync_api import expect

import regard
from regard.show.document import array
from regard.show.page import page as whole_page
from regard.symbols import EOS
from tiny_folder import save_tiny

pytestmark = pytest.mark.browser
TEXT = "the cat sees the dog"
LINK = f"#s={TEXT.replace(' ', '+')}"


def score(page) -> str:
    return page.locator("footer").inner_text().partition("log-probability ")[2].split()[0]


def test_a_link_may_hold_anything_and_another_one_is_followed(make_page, in_file, tmp_path):
    _, whole = in_file(regard.load(save_tiny(tmp_path / "tiny", "transformer", num_layers=1)), TEXT, target=TEXT)
    for site in whole["sites"]:  # weights of every size, as each needs its ink
        site["weights"] = array(torch.rand(site["weights"]["shape"], generator=torch.Generator().manual_seed(1)))
    path = tmp_path / "any.html"
    path.write_text(whole_page(whole), encoding="utf-8")
    page = make_page(path.as_uri() + "#t=-1&i=0.5&w=-1&c=-1&r=true&h=max&v=map&u=pieces&k=encoder")
    expect(page.locator("#step-title")).to_contain_text("Step 1")
    states = page.evaluate(
        """async () => {
          const { fromHash, searchOf } = await import("state");
          return [
            ...["t=1.5", "i=-1", "c=0.5", "dt=1e999", "b=2", "lp=0.5", "t="].map((link) => fromHash(link)),
            searchOf({ ...fromHash("d=true&dk=3") }),
          ];
        }"""
    )
    names = ["step", "key", "lesson", "temperature", "beam", "penalty", "step"]
    assert [state[name] for state, name in zip(states, names, strict=False)] == [0, None, None, None, 2, 0.5, 0]
    assert states[-1] == {"sampling": True, "top_k": 3}  # the folder's own settings stay
    # One layer has nothing to roll out, so the heads are there; and what is the greatest of all sums to more than 1.
    expect(page.get_by_text("rollout")).to_have_count(0)
    assert page.locator(".pane [aria-label=Head] [aria-pressed=true]").inner_text() == "max"
    expect(page.locator(".heat .caption")).to_have_text(re.compile("^Point at a cell"))
    light, dark = (inked(page, scheme) for scheme in ("light", "dark"))
    for cells, least in ((light, 0.81), (dark, 0.58)):
        assert [on for value, on in cells if abs(value - least) > 0.006] == [
            value > least for value, _ in cells if abs(value - least) > 0.006
        ]
    assert light != dark
    page.locator(".pane [aria-label=Head]").get_by_role("button", name="mean").click()
    expect(page.locator(".heat .caption")).to_contain_text("Each row sums to 1")
    page.evaluate("location.hash = '#t=2'")
    expect(page.locator("#step-title")).to_contain_text("Step 3")


def inked(page, scheme: str) -> list[tuple[float, bool]]:
    """What is written in the map, and whether in the other ink, after a switch of the page's colours."""
    page.emulate_media(color_scheme=scheme)
    page.wait_for_timeout(200)
    cells = page.locator(".heat text.value").evaluate_all(
        "all => all.map((t) => [t.textContent, t.classList.contains('on')])"
    )
    return [(float(text.strip("<>")), on) for text, on in cells]


def test_the_table_has_the_numbers_of_the_map_and_overrides_are_held_against_the_free_output(make_page, served):
    page = make_page(f"{served}{LINK}&r=true")
    page.get_by_role("group", name="Words or pieces").get_by_role("button", name="pieces").click()
    page.locator("details.data summary").focus()
    page.keyboard.press("Enter")  # opens it: an alternative is said only elsewhere
    expect(page.locator("details.data caption")).to_contain_text("rollout")
    row = page.locator("details.data tr.now td").all_inner_texts()
    links = page.locator(".links .front path").evaluate_all("paths => paths.map((path) => Number(path.dataset.weight))")
    expected = sorted(weight for weight in map(float, row) if weight >= 0.01)
    assert sorted(links) == pytest.approx(expected, abs=1e-4)
    assert len(links) > 2
    tree = page.evaluate("async () => (await import('save')).svgText(document.querySelector('.tree svg'))")
    assert 'stroke-dasharray="2px, 3px"' in tree
    free = score(page)
    page.locator(".thumbnail").first.click()
    page.wait_for_selector(".override button")
    scores = []
    for key in ("2", "0"):
        page.evaluate("document.activeElement.blur()")
        page.locator(".words.key text").nth(int(key)).click()
        page.get_by_role("button", name="only at").click()
        expect(page.locator(".consequence .key")).to_have_text(
            page.locator(".words.key text").nth(int(key)).locator("title").text_content()
        )
        scores.append(re.search(r"Log-probability (\S+) → (\S+)\.", page.locator(".consequence").inner_text()).groups())
    assert [before for before, _ in scores] == [free, free]
    assert scores[0][1] != free
    menu, inside = page.locator("header .menu"), page.locator("header .menu button").first
    for close in (lambda: page.keyboard.press("Escape"), lambda: page.locator("#step-title").click()):
        menu.locator("summary").click()
        expect(inside).to_be_visible()
        close()
        expect(inside).to_be_hidden()


def test_no_mark_is_said_as_a_word(make_page, served):
    page = make_page(served + LINK)
    marks = ("<s>", "</s>", "<pad>")

    def with_marks(route):
        answer = route.fetch()
        trace = answer.json()
        for each, piece in zip(trace["steps"][0]["alternatives"][1:], marks, strict=False):
            each["piece"] = piece
        route.fulfill(response=answer, json=trace)

    page.route("**/api/v1/trace", with_marks)
    page.locator(".go").click()
    buttons = page.locator(".alternatives button")
    expect(buttons.nth(1)).to_contain_text("<s>")
    page.evaluate("document.activeElement.blur()")
    for place in range(len(marks) + 1):  # the first was said
        page.keyboard.press("ArrowDown")
        expect(buttons.nth(place)).to_have_class("marked")
        expect(buttons.nth(place)).to_be_disabled()
        page.keyboard.press("Enter")
        page.wait_for_timeout(50)
        assert "f=" not in page.url
    page.unroute("**/api/v1/trace")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("f="))


def test_the_longer_of_two_outputs_may_be_chosen_from(make_page, served, folders):
    lengths = {name: len(regard.load(folder).translate(TEXT)[0].ids) for name, folder in folders.items()}
    short, long = sorted(lengths, key=lengths.get)
    assert lengths[short] < lengths[long]
    page = make_page(f"{served}{LINK}&m={short}&o={long}")
    page.locator(".pane").nth(1).locator(".words.query text").last.click()
    with page.expect_request("**/compare") as asked:
        page.locator(".alternatives button:enabled").first.click()
    prefix = asked.value.post_data_json["prefix"]
    assert len(prefix) == lengths[short] + 1
    assert EOS not in prefix
    expect(page.locator(".go[aria-busy=true]")).to_have_count(0)
    expect(page.locator(".error")).to_have_count(0)


def test_arrows_push_a_map_that_is_too_wide(make_page, served):
    page = make_page(f"{served}#s=the+small+dogs+play+there+and+the+cat+sees+the+house&v=map&u=pieces", width=360)
    heat, step = page.locator(".heat"), page.locator("#step-title")
    heat.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_timeout(300)
    assert heat.evaluate("(map) => map.scrollLeft") > 0
    expect(step).to_contain_text("Step 1 ")
    page.keyboard.press("ArrowDown")
    expect(page.locator(".alternatives .marked")).to_have_count(1)
    heat.evaluate("(map) => map.blur()")
    page.keyboard.press("ArrowRight")
    expect(step).to_contain_text("Step 2 ")


def test_what_is_typed_and_pasted_is_taken_as_meant(make_page, served):
    page = make_page(served + LINK)
    sent = """([selector, isComposing]) => {
      const event = new KeyboardEvent("keydown", { key: "Enter", isComposing, bubbles: true, cancelable: true });
      document.querySelector(selector).dispatchEvent(event);
      return event.defaultPrevented;
    }"""
    for selector in ("#source", ".prefix input"):  # the Enter that ends a composition takes a word, no more
        assert [page.evaluate(sent, [selector, composing]) for composing in (True, False)] == [False, True]
    pasted = """(withText) => {
      const data = new DataTransfer();
      data.items.add(new File([new Uint8Array(9)], "x.png", { type: "image/png" }));
      if (withText) data.setData("text/plain", "the cat");
      const event = new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true });
      document.querySelector("#source").dispatchEvent(event);
      return event.defaultPrevented;
    }"""
    assert page.evaluate(pasted, True) is False
    expect(page.locator(".error")).to_have_count(0)
    assert page.evaluate(pasted, False) is True
    expect(page.locator(".error")).to_contain_text("This model reads text")
    page.fill("#source", "貓看見狗" * 60)
    expect(page).to_have_url(re.compile(r"/explorer/#?$"))  # no link at all is better than one to what was there before
    page.locator("header summary").click()
    expect(page.get_by_role("button", name="copy the link")).to_be_disabled()
    page.fill("#source", TEXT)
    expect(page).to_have_url(re.compile("s=the"))
    expect(page.get_by_role("button", name="copy the link")).to_be_enabled()


def test_files_that_hold_no_trace_one_of_another_model_and_refusals(make_page, served, tmp_path):
    page = make_page(served + LINK + "&m=tiny")
    said, error = page.locator(".composer .output bdi").inner_text(), page.locator(".error[role=alert]")
    for name, content in (
        ("empty.json", "{}"),
        ("no.json", "<html>"),
        ("null.json", "null"),
        ("more.json", '{"format": 1}'),
    ):
        (tmp_path / name).write_text(content)
        page.locator("header input[type=file]").set_input_files(tmp_path / name)
        expect(error).to_have_text(f"{name} holds no trace of regard.")
    assert page.locator(".composer .output bdi").inner_text() == said
    page.locator("header summary").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="trace (JSON)").click()
    download.value.save_as(tmp_path / "tiny.json")
    expect(error).to_have_count(0)

    lost = json.dumps({"error": "this is not kept any more"})
    page.route("**/api/v1/trace/*/*", lambda route: route.fulfill(status=404, body=lost))
    page.route("**/api/v1/trace/*/sites/*", lambda route: route.fulfill(status=404, body=lost))
    page.get_by_role("button", name="page (HTML)").click()
    expect(error).to_contain_text("not kept any more")
    page.locator("header select").first.select_option("lstm")
    expect(page.locator("footer")).to_contain_text("lstm")
    expect(error).to_have_count(0)
    expect(page.locator(".arithmetic .error")).to_contain_text("not kept any more")
    page.get_by_role("button", name="trace (JSON)").click()
    expect(error).to_contain_text("not kept any more")

    page.locator("header input[type=file]").set_input_files(tmp_path / "tiny.json")
    expect(page.locator("footer")).to_contain_text("tiny")  # while lstm is chosen, whose ids may be others
    page.wait_for_selector(".arithmetic .check.fine")
    expect(page.locator(".alternatives button:enabled")).to_have_count(0)
    expect(page.locator(".override")).to_have_count(0)
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    for key in ("ArrowDown", "ArrowDown", "Enter"):
        page.keyboard.press(key)
    page.wait_for_timeout(200)
    assert asked == []
