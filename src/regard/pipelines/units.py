"""Text in units: words without the punctuation that touches them, punctuation, placeholders; each with its mark-up."""

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

from regard.pipelines.placeholders import PLACEHOLDER

Path = tuple[int, ...]  # the elements that a unit is in, the outermost first
# Space; a word with all that is inside it ("it's", "e-mail"); one sign.
_PARTS = re.compile(r"\s+|[^\W_]+(?:\S*[^\W_]+)?|\S")


class Tag(NamedTuple):
    """A piece of mark-up: the start or the end of an element (with its number), or something that stands alone."""

    kind: Literal["open", "close", "alone"]
    literal: str
    element: int = -1


class Kept(NamedTuple):
    """Text that the model reads but may not change, such as code."""

    text: str


Part = str | Tag | Kept


class Unit(NamedTuple):
    """`word` counts the words between spaces. Without `text` it is `literal`: mark-up that stands alone, or nothing."""

    text: str
    path: Path
    word: int
    is_kept: bool = False
    literal: str = ""

    @property
    def is_word(self) -> bool:
        """Not just a sign."""
        return self.text[:1].isalnum()


class Element(NamedTuple):
    """Its two tags, the path to it (itself last), and the number of the first unit behind its start."""

    opening: str
    closing: str
    path: Path
    first: int


class Marked(NamedTuple):
    """A stretch of text with mark-up: its text (with whether it must be kept), its units, its elements by number."""

    chunks: list[tuple[str, bool]]
    units: list[Unit]
    elements: dict[int, Element]

    @property
    def kept(self) -> list[str]:
        """What must be kept, in its order."""
        return [text for text, is_kept in self.chunks if is_kept]

    def text(self, stand_ins: Sequence[str] = ()) -> str:
        """What the model reads: one word for each thing that must be kept, itself if there is no stand-in for it."""
        words = iter(stand_ins or ["".join(text.split()) for text in self.kept])
        return " ".join("".join(next(words) if is_kept else text for text, is_kept in self.chunks).split())


class _Reader:
    """Parts, one after the other: the text so far, the path of each of its characters, and where tags stand."""

    def __init__(self) -> None:
        self.text = ""
        self.paths: list[Path] = []
        self.kept: list[tuple[int, int]] = []
        self.alone: list[tuple[int, Unit]] = []
        self.starts: dict[int, tuple[int, str, Path]] = {}
        self.closings: dict[int, str] = {}
        self.borders: set[int] = set()
        self._path: Path = ()

    def take(self, part: Part) -> None:
        if isinstance(part, Tag):
            self.borders.add(len(self.text))
            if part.kind == "open":
                self._path = (*self._path, part.element)
                self.starts[part.element] = (len(self.text), part.literal, self._path)
            elif part.kind == "close":
                self._path = self._path[:-1]
                self.closings[part.element] = part.literal
            else:
                self.alone.append((len(self.text), Unit("", self._path, 0, literal=part.literal)))
            return
        new = part.text if isinstance(part, Kept) else part
        if isinstance(part, Kept) and new.strip():
            self.kept.append((len(self.text), len(self.text) + len(new)))
        self.text += new
        self.paths += [self._path] * len(new)


def read(parts: Sequence[Part]) -> Marked:
    """Take `parts` apart. Elements must be well nested; space around the whole is not part of it."""
    reader = _Reader()
    for part in parts:
        reader.take(part)
    placed = [
        (start, Unit(reader.text[start:end], reader.paths[start], word, is_kept))
        for start, end, word, is_kept in _spans(reader.text, reader.kept, reader.borders)
    ]
    # Where both begin at one place, mark-up comes first: it stood before the text there.
    placed = sorted([*reader.alone, *placed], key=lambda each: each[0])
    starts = [start for start, _ in placed]
    elements = {
        element: Element(opening, reader.closings[element], path, sum(start < place for start in starts))
        for element, (place, opening, path) in reader.starts.items()
    }
    chunks = [(reader.text[start:end], is_kept) for start, end, is_kept in _chunks(reader.text, reader.kept)]
    return Marked(chunks, [unit for _, unit in placed], elements)


def split(text: str) -> list[Unit]:
    """The units of a text without mark-up."""
    return [Unit(text[start:end], (), word, is_kept) for start, end, word, is_kept in _spans(text, [], set())]


def _spans(text: str, kept: Sequence[tuple[int, int]], borders: set[int]) -> Iterator[tuple[int, int, int, bool]]:
    """Start, end, number of the word, and whether it must be kept, of every unit; none of them crosses a border."""
    word, in_word = 0, False
    for start, end, is_kept in _chunks(text, kept):
        if is_kept:
            yield start, end, word, True
            in_word = True
            continue
        cuts = [start, *sorted(border for border in borders if start < border < end), end]
        for left, right in pairwise(cuts):
            for match in _PARTS.finditer(text, left, right):
                if not match[0].isspace():
                    yield match.start(), match.end(), word, False
                    in_word = True
                elif in_word:
                    word, in_word = word + 1, False


def _chunks(text: str, kept: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int, bool]]:
    """`text` cut where something begins or ends that must be kept."""
    found = [match.span() for match in PLACEHOLDER.finditer(text) if not _overlaps(match, kept)]
    place = 0
    for start, end in sorted([*found, *kept]):
        yield place, start, False
        yield start, end, True
        place = end
    yield place, len(text), False


def _overlaps(match: re.Match[str], spans: Sequence[tuple[int, int]]) -> bool:
    return any(start < match.end() and match.start() < end for start, end in spans)
