"""Markdown: headings, paragraphs, lists and tables are translated; code, HTML blocks and front matter stay."""

import re
from collections.abc import Iterator
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token

from regard.pipelines.projection import translate_marked
from regard.pipelines.translate import Translator
from regard.pipelines.units import Kept, Part, Tag, read

EMPHASIS = frozenset(("*", "**", "_", "__", "~~"))  # they mean nothing around nothing
_FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)
_SPECIAL = re.compile(r"[\\`*\[\]<|]|(?<!\w)_|_(?!\w)")


def translate_markdown(translator: Translator, text: str, **search: Any) -> str:
    """`text` with every passage translated; each becomes one line.

    Raises:
        DataError: a passage is too long for the model.
        UsageError: a passage has mark-up and the model does not attend to its source; or a setting is wrong.
    """
    ending = "\r\n" if "\r\n" in text else "\n"
    # As Markdown's own reading begins: what it finds is then found again in the text.
    text = re.sub("\r\n?", "\n", text).replace("\0", "\N{REPLACEMENT CHARACTER}")
    front = _FRONT_MATTER.match(text)
    head = front[0] if front else ""
    body = text[len(head) :]
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(body)
    passages = [token for token in tokens if token.type == "inline" and any(map(str.isalpha, token.content))]
    marked = [read(list(_parts(token.children or []))) for token in passages]
    done = translate_marked(translator, marked, escape=_escape, droppable=EMPHASIS, **search)
    return (head + _replaced(body, passages, done)).replace("\n", ending)


def _replaced(body: str, passages: list[Token], done: list[str]) -> str:
    """`body` with each passage, which begins behind the one before it, in its new words."""
    written, place = list[str](), 0
    starts = [0, *(match.end() for match in re.finditer("\n", body))]
    for token, new in zip(passages, done, strict=True):
        assert token.map is not None
        # Between the lines of a passage stand the marks of its block, such as "> ".
        lines = [re.escape(line.strip(" \t")).replace(r"\|", r"\\?\|") for line in token.content.split("\n")]
        pattern = re.compile(r"[ \t]*\n[ \t>]*".join(lines))
        found = pattern.search(body, max(place, starts[token.map[0]]))
        assert found is not None, "the passage comes from there"
        written += [body[place : found.start()], new]
        place = found.end()
    return "".join([*written, body[place:]])


def _parts(children: list[Token]) -> Iterator[Part]:
    waiting: list[int] = []
    for number, token in enumerate(children):
        if token.type == "text":
            yield token.content
        elif token.type in ("softbreak", "hardbreak"):
            yield " "
        elif token.type == "code_inline":
            yield Kept(f"{token.markup}{token.content}{token.markup}")
        elif token.type.endswith("_open"):
            waiting.append(number)
            yield Tag("open", "[" if token.type == "link_open" else token.markup, number)
        elif token.type.endswith("_close"):
            opening = children[waiting[-1]]
            literal = f"]({_target(opening)})" if opening.type == "link_open" else token.markup
            yield Tag("close", literal, waiting.pop())
        elif token.type == "image":
            yield Tag("alone", f"![{token.content}]({_target(token, 'src')})")
        else:  # HTML
            yield Tag("alone", token.content)


def _target(token: Token, name: str = "href") -> str:
    address, title = str(token.attrGet(name) or ""), token.attrGet("title")
    return address if title is None else f'{address} "{str(title).replace(chr(34), chr(92) + chr(34))}"'


def _escape(text: str) -> str:
    if text.startswith("`"):
        return text  # code that was kept
    return _SPECIAL.sub(lambda sign: "\\" + sign[0], text)
