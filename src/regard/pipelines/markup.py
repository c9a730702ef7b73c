"""HTML in, HTML out: every passage of text is translated, every tag, comment and script keeps its place."""

from collections.abc import Sequence
from html import unescape
from html.parser import HTMLParser
from typing import Any

from regard.pipelines.projection import escape_html, translate_marked
from regard.pipelines.translate import Translator
from regard.pipelines.units import Kept, Part, Tag, read


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# What stands within a passage; every other tag ends one passage and begins another.
INLINE = _names(
    "a abbr acronym b bdi bdo big cite code data del dfn em font i img ins kbd label mark output q s samp small span "
    "strike strong sub sup time tt u var wbr"
)
ALONE = _names("area base br col embed hr img input link meta param source track wbr")
# Never translated: code of all kinds. Within a passage the model reads it, elsewhere it does not.
LITERAL = _names("code kbd math noscript pre samp script style svg template textarea tt var")


def translate_html(translator: Translator, texts: Sequence[str], **search: Any) -> list[str]:
    """The translations of pages or fragments, all passages of all of them searched together.

    `translate="no"` and the class `notranslate` are respected. Unlike tags, attributes stay as they are.

    Raises:
        UsageError: a passage has tags in it and the model does not attend to its source; or a setting is wrong.
        DataError: a passage is too long for the model.
    """
    pages = [parse(text) for text in texts]
    passages = [piece for page in pages for piece in page if isinstance(piece, list)]
    done = iter(translate_marked(translator, [read(passage) for passage in passages], **search))
    return [
        "".join(_whole(piece, next(done)) if isinstance(piece, list) else piece for piece in page) for page in pages
    ]


def parse(text: str) -> list[str | list[Part]]:
    """What is copied (`str`) and the passages that are translated, in their order."""
    parser = _Parser()
    parser.feed(text)
    parser.close()
    parser.end_passage()
    return parser.pieces


def _whole(passage: Sequence[Part], translation: str) -> str:
    """With the space that stood around it."""
    text = "".join(part if isinstance(part, str) else part.text for part in passage if not isinstance(part, Tag))
    before, after = text[: len(text) - len(text.lstrip())], text[len(text.rstrip()) :]
    return before + translation + after


class _Parser(HTMLParser):
    """Pieces of a page. What is wrongly nested is copied tag by tag, so that what was wrong stays just as wrong."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces: list[str | list[Part]] = []
        self._passage: list[Part] = []
        self._open: list[tuple[str, int]] = []  # elements of this passage: name, place of their start
        self._literal: list[str] = []  # names of the elements inside which nothing is translated
        self._code: list[str] = []  # what stands there
        self._number = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        literal = self.get_starttag_text() or ""
        if self._literal:
            self._literal += [tag] if tag == self._literal[0] and tag not in ALONE else []
            self._code.append(literal)
        elif tag in ALONE and tag in INLINE:
            self._passage.append(Tag("alone", literal))
        else:
            self._start(tag, literal)
            if tag not in ALONE and _is_literal(tag, dict(attrs)):
                self._literal, self._code = [tag], []

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ALONE or not self._literal:
            self.handle_starttag(tag, attrs) if tag in ALONE else self._alone(self.get_starttag_text() or "")
        else:
            self._code.append(self.get_starttag_text() or "")

    def handle_endtag(self, tag: str) -> None:
        if self._literal:
            if tag == self._literal[-1]:
                self._literal.pop()
            if self._literal:
                self._code.append(f"</{tag}>")
                return
            self._end_code(tag)
        self._end(tag)

    def handle_data(self, data: str) -> None:
        if self._literal:
            self._code.append(data if self.cdata_elem else escape_html(data))
        else:
            self._passage.append(data)

    def handle_comment(self, data: str) -> None:
        self._alone(f"<!--{data}-->")

    def handle_decl(self, decl: str) -> None:
        self._alone(f"<!{decl}>")

    def unknown_decl(self, data: str) -> None:
        self._alone(f"<![{data}{']]>' if '[' in data else ']>'}")  # CDATA and the like, or `<![endif]>`

    def handle_pi(self, data: str) -> None:
        self._alone(f"<?{data}>")

    def end_passage(self) -> None:
        """What has been gathered is a passage if there is a letter in it, and else copied."""
        if self._literal:  # it was never closed
            self._passage += [Tag("alone", "".join(self._code))]
            self._literal = []
        for _, place in self._open:
            self._passage[place] = Tag("alone", self._tag(place).literal)
        self._open = []
        readable = any(isinstance(part, str) and any(map(str.isalpha, part)) for part in self._passage)
        self.pieces += [self._passage] if readable else list(map(_copied, self._passage))
        self._passage = []

    def _alone(self, literal: str) -> None:
        if self._literal:
            self._code.append(literal)
        else:
            self._passage.append(Tag("alone", literal))

    def _start(self, tag: str, literal: str) -> None:
        if tag in INLINE:
            self._number += 1
            self._open.append((tag, len(self._passage)))
            self._passage.append(Tag("open", literal, self._number))
        else:
            self.end_passage()
            self.pieces.append(literal)

    def _end(self, tag: str) -> None:
        literal = f"</{tag}>"
        if tag not in INLINE:
            self.end_passage()
            self.pieces.append(literal)
            return
        if tag not in (name for name, _ in self._open):
            self._passage.append(Tag("alone", literal))
            return
        while True:
            name, place = self._open.pop()
            opening = self._tag(place)
            if name == tag:
                self._passage.append(Tag("close", literal, opening.element))
                return
            self._passage[place] = Tag("alone", opening.literal)  # it is closed too late or never

    def _end_code(self, tag: str) -> None:
        code, self._code = "".join(self._code), []
        if tag in INLINE and "<" not in code and code.strip():
            self._passage.append(Kept(unescape(code)))
        elif tag in INLINE:
            self._passage.append(Tag("alone", code))
        else:
            self.pieces.append(code)

    def _tag(self, place: int) -> Tag:
        tag = self._passage[place]
        assert isinstance(tag, Tag)
        return tag


def _is_literal(tag: str, attributes: dict[str, str | None]) -> bool:
    classes = (attributes.get("class") or "").split()
    return tag in LITERAL or attributes.get("translate") == "no" or "notranslate" in classes


def _copied(part: Part) -> str:
    if isinstance(part, Tag):
        return part.literal
    return escape_html(part.text if isinstance(part, Kept) else part)
