"""Documents come back with everything in them that is no text, and with all text in it translated."""

import gzip
import re
from collections import Counter

import pytest

from regard.errors import DataError
from regard.pipelines.placeholders import placeholders
from tiny_folder import save_tiny

polib = pytest.importorskip("polib")
srt = pytest.importorskip("srt")
markdown_it = pytest.importorskip("markdown_it")


@pytest.fixture(scope="module")
def translator(tmp_path_factory):
    import regard

    return regard.load(save_tiny(tmp_path_factory.mktemp("model") / "tiny", "transformer"))


def said(translator, text):
    return translator.translate(text)[0].text


PO = r"""# A header.
msgid ""
msgstr ""
"Content-Type: text/plain; charset=UTF-8\n"
"Plural-Forms: nplurals=3; plural=(n==1 ? 0 : 1);\n"

#: a.c:1
#, c-format
msgid "the cat sees %d dogs"
msgstr ""

msgid "the dog"
msgstr "der Hund"

#, fuzzy
msgid "a small house"
msgstr "ein Haus"

msgctxt "menu"
msgid ""
"the cat\n"
"the <b>dog</b> of {name}\n"
msgstr ""

msgid "the dog plays"
msgid_plural "the %d dogs play"
msgstr[0] ""
msgstr[1] ""
msgstr[2] ""

#~ msgid "the old cat"
#~ msgstr ""
"""


def test_a_po_file_is_filled_and_what_is_finished_stays(translator):
    from regard.pipelines.documents.po import translate_po

    before, after = polib.pofile(PO), polib.pofile(translate_po(translator, PO))
    assert after.metadata == before.metadata
    assert [entry.msgid for entry in after] == [entry.msgid for entry in before]
    cat, dog, house, menu, plural, old = after
    for untouched, was in zip((dog, house, old), (before[1], before[2], before[5]), strict=True):
        assert (untouched.msgstr, untouched.flags, untouched.obsolete) == (was.msgstr, was.flags, was.obsolete)
    assert placeholders(cat.msgstr) == ["%d"]
    assert cat.flags == ["c-format", "fuzzy"]
    first, second, last = menu.msgstr.split("\n")
    assert (first, last) == (said(translator, "the cat"), "")
    assert re.search(r"<b>.*</b>", second)
    assert placeholders(second) == ["{name}"]
    assert plural.msgstr_plural[0] == said(translator, "the dog plays")
    assert plural.msgstr_plural[1] == plural.msgstr_plural[2]
    assert placeholders(plural.msgstr_plural[1]) == ["%d"]
    assert translate_po(translator, str(after)) == str(after) + "\n"  # nothing is left to do


SRT = """1
00:00:01,000 --> 00:00:02,500
the cat sees
the dog

2
00:00:03,000 --> 00:00:04,000
- the <i>dogs</i>
- a small house

7
00:00:05,000 --> 00:00:06,000
♪ 42 ♪

"""


def test_subtitles_keep_times_numbers_and_lines(translator):
    from regard.pipelines.documents.subtitles import translate_srt

    before, after = list(srt.parse(SRT)), list(srt.parse(translate_srt(translator, SRT)))
    assert [(c.index, c.start, c.end) for c in after] == [(c.index, c.start, c.end) for c in before]
    whole = said(translator, "the cat sees the dog")
    assert after[0].content.split() == whole.split()
    assert after[0].content.count("\n") == min(1, whole.count(" "))
    assert [line.count("<i>") for line in after[1].content.split("\n")] == [1, 0]
    assert after[2].content == "♪ 42 ♪"


MARKDOWN = """---
title: the cat
---
# the cat

the **cat** sees
the [dog](https://a.org/x "the title"), `the_code` and *snow*

> the dogs
> play

- a small house
- the `snow`
  1. the dog

| the cat | **dogs** |
| --- | --- |
| a house | 42 |

    the code

```python
the = "cat"
```

<div>the html</div>
"""


def test_markdown_keeps_its_structure(translator):
    from regard.pipelines.documents.markdown import translate_markdown

    after = translate_markdown(translator, MARKDOWN)

    def structure(text):
        tokens = markdown_it.MarkdownIt("commonmark").enable(["table"]).parse(text)
        return [(token.type, token.tag, token.markup) for token in tokens]

    assert structure(after) == structure(MARKDOWN)
    for kept in (
        "title: the cat",
        "    the code\n",
        'the = "cat"',
        "<div>the html</div>",
        "| 42 |",
        "`the_code`",
        "`snow`",
    ):
        assert kept in after or kept == "`snow`"
    assert f"# {said(translator, 'the cat')}\n" in after
    assert f"> {said(translator, 'the dogs play')}\n" in after
    assert f"- {said(translator, 'a small house')}\n" in after
    assert after.count('](https://a.org/x "the title")') == 1
    assert Counter(re.findall(r"`[^`\n]+`", after)) == Counter(re.findall(r"`[^`\n]+`", MARKDOWN))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("the cat\r\nsees\r\n\r\n- the dog\r\n", "{}\r\n\r\n- {}\r\n"),
        ("the cat\rsees\r\r- the dog\r", "{}\n\n- {}\n"),
        ("the cat\n sees\n\n- the\n\tdog\n", "{}\n\n- {}\n"),
    ],
)
def test_markdown_has_all_kinds_of_line_ends_and_indents(translator, text, wanted):
    from regard.pipelines.documents.markdown import translate_markdown

    said_of = [said(translator, "the cat sees"), said(translator, "the dog")]
    assert translate_markdown(translator, text) == wanted.format(*said_of)
    assert "\0" not in translate_markdown(translator, "the \0 cat\nsees\n")


def test_what_is_no_such_document_is_said(translator):
    from regard.pipelines.documents.po import translate_po
    from regard.pipelines.documents.subtitles import translate_srt

    for text in ("/etc/passwd", "the cat\nthe dog"):
        with pytest.raises(DataError, match="no PO file"):
            translate_po(translator, text)
    with pytest.raises(DataError, match=r"Syntax error in po file \(line 3\)"):
        translate_po(translator, 'msgid "the cat"\nmsgstr ""\nthe dog')
    for text in ("the cat", "1\n00:00:01,000\nthe cat\n"):
        with pytest.raises(DataError, match="no SRT file"):
            translate_srt(translator, text)


def test_the_command_line_tells_what_was_cut_off(translator, tmp_path, capsys):
    from regard.cli import main

    folder = str(translator.loaded[0].folder)
    page = tmp_path / "page.md"
    page.write_text("the **cat** sees\n")
    told = ["translate", "-m", folder, "--format", "md", "-i"]
    assert main.run([*told, str(page), "--min-length", "5", "--max-length", "5"]) == 0
    assert capsys.readouterr().err == (
        "regard: 'the cat sees': the output was ended at its greatest length, 5 pieces\n"
    )
    (tmp_path / "cut.gz").write_bytes(gzip.compress(b"the cat\n" * 100)[:-12])
    assert main.run([*told, str(tmp_path / "cut.gz")]) == 3
    assert "cut.gz: the compressed file ends too early" in capsys.readouterr().err


def test_the_command_line_translates_documents(translator, tmp_path, capsys):
    from regard.cli import main
    from regard.pipelines.markup import translate_html

    folder = str(translator.loaded[0].folder)
    page, output = tmp_path / "page.html", tmp_path / "out.html"
    page.write_text("<p>the <b>cat</b></p>\n<p>{name} the dog\n")
    assert main.run(["translate", "-m", folder, "--format", "html", "-i", str(page), "-o", str(output)]) == 0
    assert output.read_text() == translate_html(translator, [page.read_text()])[0]
    assert main.run(["translate", "-m", folder, "--format", "pdf", "-i", str(page)]) == 2
    assert main.run(["translate", "-m", folder, "--format", "po", "--n-best", "2", "-i", str(page)]) == 2
    assert main.run(["translate", "-m", folder, "--format", "po", "-i", str(page)]) == 3
    told = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert "html, md, po, srt" in told[0]
    assert "--n-best" in told[1]
    assert str(page) in told[2]
