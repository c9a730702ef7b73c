"""Checks of mark-up in translations, with a translator that says what it is told."""

from collections import Counter

from regard.pipelines.markup import translate_html
from regard.pipelines.placeholders import placeholders
from regard.pipelines.translate import Translation, Translator


class Said(Translator):
    """Says what it is told, and looked where it is told: for every word of the output a word of the source.

    Words in `copies` it says after one, if they come one by one.
    """

    def __init__(self, text, links, copies=()):
        self.text, self.links, self.copies, self.asked = text, links, copies, []

    def translate(self, texts, **_):
        self.asked.append(list(texts))
        return [self.one(text) for text in texts]

    def one(self, text):
        is_copied = text.removesuffix(".") in self.copies
        done = Translation(text, text if is_copied else self.text, 0.0, 0.0, [], [], [], [9], [9])
        done.__dict__["alignment"] = sorted((source, target) for target, source in enumerate(self.links))
        return done

    def look_at_all(self, translations, **_):
        pass


def check_placeholders_survive() -> None:
    for said, links in (("Hallo <unk> und", [0, 1, 2]), ("Hallo", [0]), ("Hallo {name} {name} %s", [0, 1, 2, 3])):
        (translated,) = translate_html(Said(said, links), ["<b>Hello</b> {name} and %s"])
        assert Counter(placeholders(translated)) == {"{name}": 1, "%s": 1}


def check_no_stand_in_is_left() -> None:
    said = Said("Tom sieht Anna, Tom", [0, 1, 2, 0], copies=("Tom", "Anna"))
    assert translate_html(said, ["{a} sees {b}"]) == ["{a} sieht {b},"]


def check_elements_without_words_stay() -> None:
    (translated,) = translate_html(Said("gut", [2]), ["so <b>very</b> good"])
    assert "<b>" in translated


def check_tags_are_nested() -> None:
    said = Said("x y z", [0, 2, 1])
    (translated,) = translate_html(said, ["<i>a</i> <b>c</b> <i>d</i>"])
    assert translated == "<i>x</i> <i>y</i> <b>z</b>"


def check_text_is_no_mark_up() -> None:
    assert translate_html(Said("<script>", [0]), ["a"]) == ["&lt;script&gt;"]
    assert translate_html(Said("<script>", [0]), ["<b>a</b>"]) == ["<b>&lt;script&gt;</b>"]
