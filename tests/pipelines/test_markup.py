"""Whatever the model says and wherever it looks, no tag, placeholder or word of its output is lost or changed."""

import re
from collections import Counter
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checks.markup import Said
from regard.errors import UsageError
from regard.pipelines.markup import translate_html
from regard.pipelines.placeholders import placeholders
from tiny_folder import save_tiny


class Stack(HTMLParser):
    """Raises if elements are not well nested."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.words = [], [], ""
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(self.get_starttag_text())
        if tag not in ("wbr", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words += data


@pytest.fixture(scope="module")
def translator(tmp_path_factory):
    """Says something else for every source, and looks anywhere."""
    import regard

    return regard.load(save_tiny(tmp_path_factory.mktemp("model") / "tiny", "transformer"))


WORDS = [
    "the",
    "cat",
    "dog,",
    "house.",
    "sees",
    "{name}",
    "%s",
    "https://a.b/c?d=e",
    "snow!",
    "H<sub>2</sub>O",
    "a&amp;b",
]


def html_texts():
    """Passages with nested elements, breaks and placeholders."""
    leaf = st.lists(st.sampled_from([*WORDS, "<img src=x>", "<wbr>", "<b></b>"]), min_size=1, max_size=4).map(" ".join)

    def wrapped(inner):
        element = st.tuples(st.sampled_from(["b", "i", "a href='x'", "span"]), inner)
        one = element.map(lambda each: f"<{each[0]}>{each[1]}</{each[0].split()[0]}>")
        return st.lists(st.one_of(leaf, one), min_size=1, max_size=3).map(" ".join)

    return st.recursive(leaf, wrapped, max_leaves=6)


@st.composite
def outputs(draw):
    """Words that a model may say, and where each of them looked."""
    words = draw(
        st.lists(st.sampled_from(["das", "Haus.", "{name}", "%s", "<unk>", "e-mail,", "H2O", "..."]), max_size=7)
    )
    return words, draw(st.lists(st.integers(0, 3), min_size=len(words), max_size=len(words)))


@settings(max_examples=60, deadline=None)
@given(text=html_texts(), output=outputs())
def test_nothing_is_lost_added_or_badly_nested(text, output):
    words, links = output
    (translated,) = translate_html(Said(" ".join(words), links), [text])
    before, after = Stack(text), Stack(translated)
    assert set(before.tags) == set(after.tags)
    assert not Counter(before.tags) - Counter(after.tags)
    single = [tag for tag in before.tags if tag.startswith("<img")]
    assert Counter(single) == Counter(tag for tag in after.tags if tag.startswith("<img"))
    said = Counter(placeholders(after.words))
    assert not [each for each, number in Counter(placeholders(before.words)).items() if said[each] != number]


@settings(max_examples=40, deadline=None)
@given(text=html_texts().filter(lambda text: not re.search(r"[{%&]|https|sub", text)), output=outputs())
def test_without_placeholders_the_words_are_what_the_model_said(text, output):
    words, links = output
    words = [word for word in words if not placeholders(word)]
    (translated,) = translate_html(Said(" ".join(words), links[: len(words)]), [text])
    if any(map(str.isalpha, Stack(text).words)):
        assert Stack(translated).words.split() == words


@pytest.mark.parametrize(
    ("source", "said", "links", "wanted"),
    [
        ("the <b>red</b> house", "das rote Haus", [0, 1, 2], "das <b>rote</b> Haus"),
        ("a <b>red house</b>", "une maison rouge", [0, 2, 1], "une <b>maison rouge</b>"),
        ("I <b>have</b> seen it.", "Ich habe es gesehen.", [0, 1, 3, 2], "Ich <b>habe</b> es gesehen."),
        ("he <b>turns off</b> it", "er schaltet es aus", [0, 1, 3, 2], "er <b>schaltet es aus</b>"),
        ("<b>turn</b> <i>it</i> <b>off</b>", "schalte es aus", [0, 1, 2], "<b>schalte</b> <i>es</i> <b>aus</b>"),
        ("<i>a <b>cat</b></i> sees", "eine Katze sieht", [0, 1, 2], "<i>eine <b>Katze</b></i> sieht"),
        ("<b>Hello</b>, you", "Hallo, du", [0, 1], "<b>Hallo</b>, du"),
        ("a <img src=x> b", "x y", [1, 0], "<img src=x>x y"),
        ("so <b>very</b> good", "gut", [2], "<b></b>gut"),
        ("Hello {name}, come", "Hallo <unk>, komm", [0, 1, 2], "Hallo {name}, komm"),
        ("Hello {name}!", "Hallo!", [0], "Hallo {name}!"),
        ("%d of %d files", "%d Dateien von %d", [0, 3, 1, 2], "%d Dateien von %d"),
        ("see https://a.org/b.", "siehe https : // a.", [0, 1, 1, 1, 1], "siehe https://a.org/b."),
        ("H<sub>2</sub>O is wet", "H2O ist nass", [0, 1, 2], "H<sub>2</sub>O ist nass"),
        ("run <code>rm -r x</code> now", "führe <unk> jetzt aus", [0, 1, 2, 0], "führe <code>rm -r x</code> jetzt aus"),
        ("5 &lt; 6 <b>or</b> 7", "5 < 6 oder 7", [0, 1, 2, 3, 4], "5 &lt; 6 <b>oder</b> 7"),
        ("  <b>so</b>\n", "so", [0], "  <b>so</b>\n"),
    ],
)
def test_where_mark_up_goes(source, said, links, wanted):
    assert translate_html(Said(said, links), [source]) == [wanted]


@pytest.mark.parametrize(
    ("source", "read", "said", "links", "wanted"),
    [
        ("Hello {name}, come", "Hello Tom, come", "Hallo Tom, komm", [0, 1, 2], "Hallo {name}, komm"),
        ("{a} loves {b}.", "Tom loves Anna.", "Anna liebt Tom.", [2, 1, 0], "{b} liebt {a}."),
        ("{a} loves {a}.", "Tom loves Anna.", "Anna liebt Tom.", [2, 1, 0], "{a} liebt {a}."),
        ("{a}'s %d cats", "Tom's 5 cats", "Toms 5 Katzen", [0, 1, 2], "{a}s %d Katzen"),
        ("{a} sleeps", "Tom sleeps", "Tom schläft, Tom", [0, 1, 0], "{a} schläft,"),
        ("from <b>{x}</b> to {y}", "from Tom to Anna", "von Tom", [0, 1], "von <b>{x}</b> {y}"),
        ("see https://a.org/b c", "see Tom c", "siehe Tom nach", [0, 1, 2], "siehe https://a.org/b nach"),
        ("no holes", "no holes", "keine", [0], "keine"),
    ],
)
def test_in_the_place_of_placeholders_the_model_reads_words_that_it_copies(source, read, said, links, wanted):
    translator = Said(said, links, copies=("Tom", "Anna", "5"))
    assert translate_html(translator, [source]) == [wanted]
    assert translator.asked[-1] == [read]
    assert len(translator.asked) == (2 if source != "no holes" else 1)


PAGE = """<!DOCTYPE html>
<html><head><title>the cat</title><style>a > b { color: red }</style><script>if (a < b) { "the dog" }</script></head>
<body class="x"><!-- the note -->
<p>the cat <b>sees</b> the dog<p>the dogs
<ul><li>a small house</li><li translate="no">the <i>name</i></li></ul>
<pre>the   code &lt; 3</pre><hr/><p>42</p>
</body></html>
"""


def test_a_page_keeps_all_that_is_no_text(translator):
    (translated,) = translate_html(translator, [PAGE])
    passages = ["the cat", "the cat <b>sees</b> the dog", "the dogs", "a small house"]
    expected = PAGE
    for passage in passages:
        (one,) = translate_html(translator, [passage])
        expected = re.sub(rf"(?<=>){re.escape(passage)}(?=[<\n])", lambda _, one=one: one, expected, count=1)
    assert translated == expected
    assert translated != PAGE


@pytest.mark.parametrize("text", ["<![CDATA[ a > dog ]]>", "<![if IE 6]>", "<![endif]>"])
def test_marked_sections_stay_as_they_are(translator, text):
    assert translate_html(translator, [f"<p>{text}</p>"]) == [f"<p>{text}</p>"]


@pytest.mark.parametrize(
    "text", ["the <b>cat", "the cat</b> sees", "<b>the <i>cat</b> sees</i>", "the < cat", "a <b", "&amp", ""]
)
def test_what_is_wrong_stays_wrong_and_is_not_lost(translator, text):
    (translated,) = translate_html(translator, [text])
    assert Counter(re.findall(r"</?[bi]>", translated)) == Counter(re.findall(r"</?[bi]>", text))


def test_a_model_that_does_not_look_at_its_source_refuses_rather_than_mangles(tmp_path):
    import regard

    blind = regard.load(save_tiny(tmp_path / "blind", "seq2seq", score="none"))
    with pytest.raises(UsageError, match="no alignment"):
        translate_html(blind, ["the <b>cat</b>"])
    assert translate_html(blind, ["<p>the cat</p>"]) == [f"<p>{blind.translate('the cat')[0].text}</p>"]


def test_texts_do_not_change_each_other(translator):
    texts = ["the <b>cat</b>", "<i>a {name}</i> house", "the dog"]
    assert translate_html(translator, texts) == [translate_html(translator, [text])[0] for text in texts]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Hello {name}, {0:.2f} {{ x }}", ["{name}", "{0:.2f}", "{{ x }}"]),
        ("%s and %(count)d, %1$s, 100% der, 5 % of %%", ["%s", "%(count)d", "%1$s"]),
        ("at https://a.b/c(d). me@x.org ${HOME} $USER $5", ["https://a.b/c(d", "me@x.org", "${HOME}", "$USER"]),
    ],
)
def test_what_is_a_placeholder(text, found):
    assert placeholders(text) == found
