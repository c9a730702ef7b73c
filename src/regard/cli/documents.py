"""`regard translate --format`: a document as a whole in, a document out."""

import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regard.cli.notices import Notices
from regard.errors import DataError, UsageError

if TYPE_CHECKING:
    from regard.pipelines.translate import Translator

PLAIN = "text"
NEEDS = {"html": None, "md": "markdown_it", "po": "polib", "srt": "srt"}  # format: the package that reads it


def check_format(name: str, refused: dict[str, object]) -> None:
    """Whether the format `name` can be translated with these options, of which those `refused` are for lines.

    Raises:
        UsageError: it cannot.
    """
    if name == PLAIN:
        return
    if name not in NEEDS:
        raise UsageError(f"--format {name}: it is {PLAIN}, {', '.join(NEEDS)}")
    given = [option for option, value in refused.items() if value]
    if given:
        raise UsageError(f"{', '.join(given)}: for lines of text, not with --format {name}")
    package = NEEDS[name]
    if package is not None and find_spec(package) is None:
        raise UsageError(f"--format {name} needs the package {package}: pip install 'regard[documents]'")


def translate_document(
    translator: "Translator", name: str, path: Path | None, write: Callable[[str], None], search: dict[str, Any]
) -> None:
    """Read all of `path` (or standard input), translate it, write it.

    Raises:
        DataError: it cannot be read, or is no document of the format `name`.
    """
    text, notices = _read(path), Notices()
    try:
        done = _translate(translator, name, text, {**search, "tell": notices.tell})
    except DataError as error:
        raise DataError(f"{path or 'standard input'}: {error}") from None
    for line in done.removesuffix("\n").split("\n"):
        write(line)
    notices.finish()


def _translate(translator: "Translator", name: str, text: str, search: dict[str, Any]) -> str:
    if name == "html":
        from regard.pipelines.markup import translate_html

        return translate_html(translator, [text], **search)[0]
    if name == "md":
        from regard.pipelines.documents.markdown import translate_markdown

        return translate_markdown(translator, text, **search)
    if name == "po":
        from regard.pipelines.documents.po import translate_po

        return translate_po(translator, text, **search)
    from regard.pipelines.documents.subtitles import translate_srt

    return translate_srt(translator, text, **search)


def _read(path: Path | None) -> str:
    from regard.data.files import open_bytes, read_error

    if path is None or str(path) == "-":
        content = sys.stdin.buffer.read()
    else:
        with open_bytes(path) as file:
            try:
                content = file.read()
            except Exception as error:
                raise read_error(path, error) from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path or 'standard input'}: byte {error.start} is not UTF-8; convert it with `iconv -t UTF-8`"
        ) from None
