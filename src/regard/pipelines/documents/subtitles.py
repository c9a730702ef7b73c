"""Subtitles (SubRip's SRT): times and numbers stay, a caption keeps its number of lines."""

from typing import Any

import srt

from regard.errors import DataError
from regard.pipelines.documents.tags import translate_lines
from regard.pipelines.translate import Translator

SPEAKER = "-"  # a line that begins so is somebody else's


def translate_srt(translator: Translator, text: str, **search: Any) -> str:
    """`text` with every caption translated. Its lines are one sentence, unless each begins with a dash.

    Raises:
        DataError: it is no SRT file, or a caption is too long for the model.
        UsageError: a caption has tags and the model does not attend to its source; or a setting is wrong.
    """
    try:
        captions = list(srt.parse(text.removeprefix("\ufeff").replace("\r\n", "\n")))
    except (srt.SRTParseError, srt.TimestampParseError, ValueError) as error:
        raise DataError(f"this is no SRT file: {str(error).partition(chr(10))[0]}") from None
    if text.strip() and not captions:
        raise DataError("this is no SRT file: there is no caption in it")
    joined = [_joined(caption.content) for caption in captions]
    for caption, source, done in zip(captions, joined, translate_lines(translator, joined, **search), strict=True):
        caption.content = done if "\n" in source else _wrapped(done, caption.content.strip().count("\n") + 1)
    return srt.compose(captions, reindex=False)


def _joined(content: str) -> str:
    lines = [line.strip() for line in content.strip().split("\n")]
    return ("\n" if any(line.startswith(SPEAKER) for line in lines) else " ").join(lines)


def _wrapped(text: str, num_lines: int) -> str:
    """`text` in so many lines of about the same length."""
    words, lines = text.split(" "), list[str]()
    for left in range(num_lines, 0, -1):
        wanted = len(" ".join(words)) / left
        line = words[:1]
        while len(words) > len(line) and (left == 1 or len(" ".join([*line, words[len(line)]])) <= wanted + 1):
            line.append(words[len(line)])
        words = words[len(line) :]
        lines.append(" ".join(line))
    return "\n".join(line for line in lines if line)
