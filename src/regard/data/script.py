"""The script a text is written in, guessed from the names that Unicode gives to its letters."""

import unicodedata
from collections import Counter
from functools import lru_cache

# One text in Japanese mixes these, and none of them says that it is not Japanese or Chinese.
_HAN = ("CJK", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA", "BOPOMOFO")
_WIDTHS = ("FULLWIDTH", "HALFWIDTH")
_NO_ASCII_LETTERS = bytes(byte for byte in range(128) if not chr(byte).isalpha())


@lru_cache(maxsize=1 << 16)
def script_of_letter(letter: str) -> str | None:
    """Such as LATIN, CYRILLIC or CJK (with kana); None for what is no letter, or belongs to no script."""
    if unicodedata.category(letter) not in ("Lu", "Ll", "Lt", "Lo"):
        return None
    words = unicodedata.name(letter, "").split()
    word = next((word for word in words if word not in _WIDTHS), None)
    return "CJK" if word in _HAN else word


def script_of(text: str) -> str | None:
    """The script of most letters; None without a letter."""
    num_ascii_letters = len(text.encode("ascii", "ignore").translate(None, _NO_ASCII_LETTERS))
    if 2 * num_ascii_letters > len(text):  # the quick way for most texts
        return "LATIN"
    letters = Counter(script for script in map(script_of_letter, text) if script is not None)
    return letters.most_common(1)[0][0] if letters else None
