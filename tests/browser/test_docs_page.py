"""The page /docs: every route, and an answer to try."""

import pytest

pytestmark = pytest.mark.browser


def test_every_route_is_described_and_can_be_tried(make_page, served):
    address = served.removesuffix("explorer/") + "docs"
    page = make_page(address, wait="details")
    assert page.locator("summary code", has_text="/v1/translate").count() == 1
    route = page.locator("details", has=page.locator("summary code", has_text="/v1/score"))
    route.locator("summary").click()
    route.get_by_role("textbox").fill('{"pairs": [["the cat", "die Katze"]]}')
    route.get_by_role("button").click()
    page.wait_for_selector("pre:has-text('token_scores')")
