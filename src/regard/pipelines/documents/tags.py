"""Text with a few tags in it, which is not HTML as a whole: messages of programs, subtitles."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from regard.pipelines.projection import translate_marked
from regard.pipelines.translate import Translator
from regard.pipelines.units import Part, Tag, read

_TAG = re.compile(r"<(/?)([A-Za-z][\w-]*)[^<>]*?(/?)>")


def translate_lines(translator: Translator, texts: Sequence[str], **search: Any) -> list[str]:
    """The translations of `texts`, line by line; tags and placeholders follow the words, space around lines stays.

    Raises:
        UsageError: there is something to be placed, and the model does not attend to its source; or a setting is wrong.
        DataError: a line is too long for the model.
    """
    lines = [text.split("\n") for text in texts]
    wanted = [line for each in lines for line in each if any(map(str.isalpha, line))]
    done = iter(translate_marked(translator, [read(parts(line)) for line in wanted], escape=str, **search))
    return ["\n".join(_next(line, done) for line in each) for each in lines]


def _next(line: str, done: Iterator[str]) -> str:
    if not any(map(str.isalpha, line)):
        return line
    before, after = line[: len(line) - len(line.lstrip())], line[len(line.rstrip()) :]
    return before + next(done) + after


def parts(text: str) -> list[Part]:
    """Text and tags; a tag without its partner stands alone."""
    found: list[Part] = []
    waiting: list[tuple[str, int]] = []  # name and place of elements that have begun
    place = 0
    for number, match in enumerate(_TAG.finditer(text)):
        found += [text[place : match.start()]] if match.start() > place else []
        place = match.end()
        if match[1] and match[2] in (name for name, _ in waiting):
            while (start := waiting.pop())[0] != match[2]:
                pass
            opening = found[start[1]]
            assert isinstance(opening, Tag)
            found[start[1]] = Tag("open", opening.literal, number)
            found.append(Tag("close", match[0], number))
            continue
        if not match[1] and not match[3]:
            waiting.append((match[2], len(found)))
        found.append(Tag("alone", match[0]))
    return [*found, text[place:]]
