"""Going through the lessons of a page, which must tell wrong answers from right ones."""

from typing import Any

from playwright.sync_api import Page


def answer_wrongly_and_rightly(page: Page, lessons: list[dict[str, Any]]) -> set[str]:
    """Answer every question wrongly, then rightly; the lessons' titles. The first lesson is open."""
    titles = set()
    for number, lesson in enumerate(lessons):
        page.wait_for_selector(f".lesson:has-text('Lesson {number + 1} of {len(lessons)}')")
        titles.add(page.locator("#lesson-title").inner_text())
        question = lesson["question"]
        answer = question["answer"]
        if question["options"]:
            wrong = next(each for each in question["options"] if each != answer)
            for option, verdict in ((wrong, "wrong"), (answer, "fine")):
                page.locator(".quiz").get_by_role("button", name=option, exact=True).click()
                page.wait_for_selector(f".verdict.{verdict}")
        else:
            for value, verdict in ((answer + 1 + question["tolerance"], "wrong"), (answer, "fine")):
                page.fill(".quiz input", f"{value:.4f}")
                page.keyboard.press("Enter")
                page.wait_for_selector(f".verdict.{verdict}")
        if number < len(lessons) - 1:
            page.get_by_role("button", name="Next →").click()
    return titles
