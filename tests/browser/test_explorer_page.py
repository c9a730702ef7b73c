"""The explorer in a real Chromium: what one can do on it, and that its numbers are the model's."""

import json
import re

import pytest
import torch
from playwright.sync_api import expect

import regard
from browser.lessons import answer_wrongly_and_rightly
from regard.pipelines.trace import next_token_distributions, trace_sentence
from regard.show.document import array, document
from regard.show.page import page as whole_page
from regard.show.sentence import choose, look
from regard.training.information import js_divergence

TEXT = "the cat sees the dog"
pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def translator(folders):
    return regard.load(folders["tiny"])


@pytest.fixture
def page(make_page, served):
    return make_page(served + f"#s={TEXT.replace(' ', '+')}")


def output(page):
    return page.locator(".composer .output bdi")


def said(page) -> str:
    return output(page).inner_text()


def test_type_and_see(page, translator):
    for text in (TEXT, "a small house stands there"):
        page.fill("#source", text)
        page.keyboard.press("Enter")
        expected = translator.translate(text)[0].text
        expect(output(page)).to_have_text(expected)
    assert page.locator(".links svg .words.key text").count() == 6


def test_pointing_at_a_word_isolates_its_links(page, translator):
    site = choose(look(translator, translator.translate(TEXT)[0]), None)
    weights, keys, _ = site.map()
    word = int(weights.sum(0).argmax())
    page.locator(".links .words.key text").nth(word).hover()
    page.wait_for_selector(".links .ground.faint")
    links = page.locator(".links .front path").evaluate_all("paths => paths.map((path) => Number(path.dataset.weight))")
    expected = sorted(weight for weight in weights[:, word].tolist() if weight >= 0.01)
    assert sorted(links) == pytest.approx(expected, abs=1e-6)
    assert page.locator(".links .words.key text.own title").text_content() == keys[word]
    page.mouse.move(5, 5)
    expect(page.locator(".links .ground.faint")).to_have_count(0)


def test_decoding_is_stepped_through_by_keyboard(page):
    assert page.locator("#step-title").inner_text().startswith("Step 1")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#step-title")).to_contain_text("Step 2")
    status = page.locator("main [role=status]").first.inner_text()
    assert re.match(r"step 2, .+, .*looks at .+ [.<>\d]+, .+", status)
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#step-title")).to_contain_text("Step 1")


def test_an_alternative_is_forced_by_keyboard_and_decoding_goes_on(page, translator):
    before = said(page)
    labels = page.locator(".alternatives bdi").all_inner_texts()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(output(page)).not_to_have_text(before)
    assert page.locator(".step .said bdi").inner_text() == labels[1]
    token = int(re.search(r"f=(\d+)", page.url)[1])
    expected = translator.vocabularies.target.decode(trace_sentence(translator, TEXT, prefix=[token]).target)
    assert said(page) == expected


def test_the_beginning_can_be_edited(page, translator):
    prefix = page.locator(".prefix input")
    prefix.fill("die Katze")
    prefix.press("Enter")
    expected = translator.translate(TEXT, prefixes="die Katze")[0].text
    expect(output(page)).to_have_text(expected)
    assert said(page).startswith("die Katze")


def test_a_beginning_that_cannot_be_said_is_refused_and_what_was_seen_stays(page):
    before = said(page)
    prefix = page.locator(".prefix input")
    prefix.fill("die Žebra")
    prefix.press("Enter")
    expect(page.locator(".error[role=alert]")).to_contain_text("the model's vocabulary lacks Žebra")
    assert said(page) == before
    prefix.fill("die Katze")
    prefix.press("Enter")
    expect(page.locator(".error[role=alert]")).to_have_count(0)
    expect(output(page)).to_contain_text("die Katze")


def test_the_tree_keeps_dead_branches_and_says_why_they_died(page):
    page.wait_for_selector(".tree .node.dead")
    page.locator(".tree .node.dead").first.hover()
    reason = page.locator(".tree .caption").inner_text()
    assert re.search(r"outside the beam|wanted to end|could no longer win", reason), reason
    best = page.locator(".tree .node.best").all_inner_texts()
    assert len(best) >= 2
    page.locator(".fates summary").click()
    rows = page.locator(".fates tbody tr")
    expect(rows.first).to_be_visible()
    assert rows.count() >= page.locator(".tree .node").count()
    assert all(text.strip() for text in page.locator(".fates .words").all_inner_texts())


def test_a_head_of_the_wall_becomes_large(page):
    page.locator(".thumbnail").nth(1).click()
    pressed = page.locator(".pane [aria-label=Head] button[aria-pressed=true]")
    assert pressed.inner_text() == "2"
    page.keyboard.press("h")
    page.wait_for_selector(".heat svg image")
    page.keyboard.press("w")
    page.locator("details.data summary").click()
    rows = page.locator("details.data tbody tr")
    expect(rows.first.locator("td")).not_to_have_count(0)
    first = [float(cell) for cell in rows.first.locator("td").all_inner_texts()]
    assert sum(first) == pytest.approx(1, abs=1e-3)


def test_clicking_a_cell_of_the_map_shows_its_arithmetic(page):
    page.keyboard.press("h")
    page.keyboard.press("w")
    page.wait_for_selector(".heat svg image")
    box = page.locator(".heat .cells").bounding_box()
    rows = page.locator(".heat .labels text.query").all_text_contents()
    columns = page.locator(".heat .labels text.key title").all_text_contents()
    page.mouse.click(box["x"] + box["width"] * 2.5 / len(columns), box["y"] + box["height"] * 1.5 / len(rows))
    expect(page.locator("#step-title")).to_contain_text("Step 2")
    title = page.locator("#arithmetic-title").inner_text()
    assert f"key {columns[2]}" in " ".join(title.split())


def test_the_arithmetic_of_every_cell_is_the_models(make_page, in_file, translator):
    """Recomputed in the browser in double precision: score, weight, context; equal to the tensors that were used."""
    address, _ = in_file(translator, TEXT)
    page = make_page(address)
    page.wait_for_selector(".lines li")
    worst = page.evaluate(
        """async () => {
          const { workOut } = await import("arithmetic");
          const trace = JSON.parse(document.getElementById("trace").textContent);
          let worst = { score: 0, weight: 0, context: 0, cells: 0 };
          for (const site of trace.sites) {
            const [heads, rows, columns] = site.weights.shape;
            for (let h = 0; h < heads; h++) for (let r = 0; r < rows; r++) for (let c = 0; c < columns; c++) {
              const cell = workOut(site, trace.details[site.name], h, r, c);
              const large = Math.max(1, ...cell.context.map(Math.abs));
              if (Number.isFinite(cell.e))  // a sum of products is as exact as the products are large
                worst.score = Math.max(worst.score, Math.abs(cell.score - cell.e) / Math.max(1, cell.size));
              worst.weight = Math.max(worst.weight, Math.abs(cell.again - cell.weight));
              worst.context = Math.max(worst.context, cell.difference / large);
              worst.cells++;
            }
          }
          return worst;
        }"""
    )
    assert worst.pop("cells") > 500
    assert max(worst.values()) < 1e-6, worst
    assert page.locator(".check.wrong").count() == 0
    assert page.locator(".check.fine").count() == 4


def test_the_check_on_the_page_notices_other_numbers(make_page, in_file, translator, tmp_path):
    """The page is not told that all is well: of a file whose weights were changed it says so."""
    _, whole = in_file(translator, TEXT)
    for site in whole["sites"]:
        site["weights"] = array(torch.rand(site["weights"]["shape"], generator=torch.Generator().manual_seed(1)))
    path = tmp_path / "false.html"
    path.write_text(whole_page(whole), encoding="utf-8")
    page = make_page(path.as_uri())
    page.wait_for_selector(".check")
    assert page.locator(".check.wrong").count() >= 2


def test_two_models_side_by_side(page, folders):
    page.locator("header select").nth(1).select_option("lstm")
    page.wait_for_selector(".between-models")
    assert page.locator(".pane").count() == 2
    shown = [float(each) for each in page.locator(".between-models button").evaluate_all("b => b.map(e => e.title)")]
    first, second = (regard.load(folders[name]) for name in ("tiny", "lstm"))
    (each,) = first.translate(TEXT)
    p, q = (next_token_distributions(m.loaded[0].model, each.source_ids, each.ids) for m in (first, second))
    expected = js_divergence(p, q, "bits").tolist()
    assert shown == pytest.approx(expected, abs=1e-4)


def test_overriding_a_row_shows_what_follows(page):
    page.wait_for_selector(".override button")
    page.locator(".thumbnail").first.click()
    page.locator(".override button").first.click()
    page.wait_for_selector(".consequence")
    text = page.locator(".consequence").inner_text()
    assert "was made to look only at" in text
    assert re.search(r"Log-probability .?[\d.]+ → .?[\d.]+", text)
    page.locator(".consequence button").click()
    expect(page.locator(".consequence")).to_have_count(0)


@pytest.mark.parametrize(("kind", "where"), [("source → source", "At the source word"), ("target → target", "At step")])
def test_attention_within_a_side_is_overridden_too(page, kind, where):
    page.get_by_role("button", name=kind).click()
    page.get_by_role("button", name="pieces").click()
    page.locator(".thumbnail").first.click()
    page.locator(".words.query text").nth(1).click()
    page.wait_for_selector(".override button")
    before = page.locator("footer").inner_text()
    page.get_by_role("button", name="at all alike").click()
    page.wait_for_selector(".consequence")
    assert where in page.locator(".consequence").inner_text()
    assert page.locator("footer").inner_text() != before
    page.locator("details.data summary").click()
    expect(page.locator("details.data tr.now td").first).to_be_visible()
    row = [float(cell) for cell in page.locator("details.data tr.now td").all_inner_texts()]
    seen = [weight for weight in row if weight > 0]
    assert seen == pytest.approx([1 / len(seen)] * len(seen), abs=1e-3)
    page.get_by_role("button", name="Give the model its own weights back").click()
    expect(page.locator(".consequence")).to_have_count(0)


def test_outputs_are_drawn_with_the_chances_shown(page, translator):
    page.get_by_role("button", name="sampling").click()
    page.wait_for_selector(".columns table")
    assert page.locator(".tree").count() == 0
    page.locator(".slider input").nth(1).fill("3")
    expect(page.locator(".columns tr.cut")).to_have_count(7)
    page.locator(".slider input").first.fill("0.5")
    expect(page.locator(".columns th", has_text="z / T")).to_have_count(1)
    expect(page).to_have_url(re.compile("d=true&dt=0.5&dk=3"))
    settings = {"sampling": True, "temperature": 0.5, "top_k": 3, "top_p": 1.0, "seed": 1}
    trace = trace_sentence(translator, TEXT, **settings)
    expect(output(page)).to_have_text(translator.vocabularies.target.decode(trace.target))
    shown = page.locator(".columns td.p i").evaluate_all("bars => bars.map((bar) => parseFloat(bar.style.inlineSize))")
    assert shown == pytest.approx([100 * each.chance for each in trace.steps[0].alternatives], abs=0.06)
    drawn = {said(page)}
    for seed in (2, 3, 4):
        page.get_by_role("button", name="draw again").click()
        expect(page).to_have_url(re.compile(f"ds={seed}"))
        again = trace_sentence(translator, TEXT, **settings | {"seed": seed})
        expect(output(page)).to_have_text(translator.vocabularies.target.decode(again.target))
        drawn.add(said(page))
    page.get_by_role("button", name="beam", exact=True).click()
    expect(page.locator(".tree")).to_have_count(1)


def test_a_link_brings_the_view_back(page, make_page):
    page.locator(".thumbnail").nth(2).click()
    page.keyboard.press("h")
    page.keyboard.press("ArrowRight")
    expect(page).to_have_url(re.compile("t=1"))
    again = make_page(page.url)
    again.wait_for_selector(".heat svg image")
    for selector in ("#step-title", "#arithmetic-title", ".pane [aria-label=Layer] [aria-pressed=true]"):
        assert again.locator(selector).inner_text() == page.locator(selector).inner_text()


def test_files_bring_the_view_back(page, make_page, tmp_path):
    page.keyboard.press("ArrowRight")
    page.locator("header summary").click()
    for button, name in (
        ("trace (JSON)", "x.json"),
        ("page (HTML)", "x.html"),
        ("picture (SVG)", "x.svg"),
        ("picture (PNG)", "x.png"),
    ):
        with page.expect_download() as download:
            page.get_by_role("button", name=button).click()
        download.value.save_as(tmp_path / name)
    again = make_page((tmp_path / "x.html").as_uri())
    assert again.locator("#step-title").inner_text().startswith("Step 2")
    assert json.loads((tmp_path / "x.json").read_text())["details"]
    assert (tmp_path / "x.png").read_bytes()[:4] == b"\x89PNG"
    picture = (tmp_path / "x.svg").read_text()
    assert picture.count("<path") > 10
    assert "dog" in picture
    again.locator("header summary").click()
    with again.expect_file_chooser() as chooser:
        again.get_by_role("button", name="open a trace").click()
    chooser.value.set_files(tmp_path / "x.json")
    again.wait_for_selector(".lines .check.fine")


def test_ten_lessons_drive_the_page_and_check_the_answers(page, translator):
    lessons = document(translator, trace_sentence(translator, TEXT), text=TEXT)["lessons"]
    assert len(lessons) == 10
    page.keyboard.press("l")
    titles = answer_wrongly_and_rightly(page, lessons)
    assert len(titles) == 10


def test_what_goes_wrong_is_said(page):
    page.fill("#source", "   ")
    page.keyboard.press("Enter")
    page.wait_for_selector(".error")
    assert "empty sentence" in page.locator(".error").inner_text()
