"""Messages of programs (gettext's PO): what is not translated yet is filled in and marked to be looked over."""

import re
from typing import Any

import polib

from regard.errors import DataError
from regard.pipelines.documents.tags import translate_lines
from regard.pipelines.translate import Translator

FUZZY = "fuzzy"  # gettext's mark: a person should look at it before it is used


def translate_po(translator: Translator, text: str, **search: Any) -> str:
    """`text` with every message filled in that has no translation; finished and obsolete ones are not touched.

    What is filled in is marked fuzzy, as gettext's own tools do with what they guessed.

    Raises:
        DataError: it is no PO file, or a message is too long for the model.
        UsageError: a message has placeholders and the model does not attend to its source; or a setting is wrong.
    """
    try:
        file = polib.pofile(text + "\n")  # never a path, which polib would open
    except (OSError, ValueError, UnicodeDecodeError) as error:
        raise DataError(f"this is no PO file: {error}") from None
    entries = [entry for entry in file if not entry.obsolete and not entry.translated() and FUZZY not in entry.flags]
    singular = translate_lines(translator, [entry.msgid for entry in entries], **search)
    counted = [entry for entry in entries if entry.msgid_plural]
    plurals = iter(translate_lines(translator, [entry.msgid_plural for entry in counted], **search))
    for entry, one in zip(entries, singular, strict=True):
        if not entry.msgid_plural:
            entry.msgstr = one
        else:
            many = next(plurals)
            entry.msgstr_plural = {form: many if form else one for form in range(_num_forms(file))}
        entry.flags.append(FUZZY)
    return str(file) + "\n"


def _num_forms(file: polib.POFile) -> int:
    """How many plural forms the language has: the header says it."""
    found = re.search(r"nplurals\s*=\s*(\d+)", file.metadata.get("Plural-Forms", ""))
    return int(found[1]) if found else 2
