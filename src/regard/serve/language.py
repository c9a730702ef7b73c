"""Which language a text is in, where the extra `detect` is installed; and what languages are called."""

from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from regard.serve.errors import ApiError

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

# English names of ISO 639-1 codes; a code that is not here is its own name.
NAMES = {
    "ar": "Arabic", "bg": "Bulgarian", "bn": "Bengali", "ca": "Catalan", "cs": "Czech", "da": "Danish", "de": "German",
    "el": "Greek", "en": "English", "eo": "Esperanto", "es": "Spanish", "et": "Estonian", "fa": "Persian",
    "fi": "Finnish", "fr": "French", "ga": "Irish", "he": "Hebrew", "hi": "Hindi", "hu": "Hungarian",
    "id": "Indonesian", "it": "Italian", "ja": "Japanese", "ko": "Korean", "lt": "Lithuanian", "lv": "Latvian",
    "nb": "Norwegian", "nl": "Dutch", "pl": "Polish", "pt": "Portuguese", "ro": "Romanian", "ru": "Russian",
    "sk": "Slovak", "sl": "Slovenian", "sq": "Albanian", "sv": "Swedish", "th": "Thai", "tr": "Turkish",
    "uk": "Ukrainian", "ur": "Urdu", "vi": "Vietnamese", "zh": "Chinese",
}  # fmt: skip


def language_name(code: str) -> str:
    """`German` for `de`."""
    return NAMES.get(code, code)


def detect(text: str, among: set[str] | None = None) -> list[dict[str, Any]]:
    """Languages with confidences in percent, the likeliest first; only those `among` the given ones.

    Raises:
        ApiError: the package that does it is not installed.
    """
    if find_spec("py3langid") is None:
        raise ApiError(501, "this server cannot tell languages apart; install it with `pip install 'regard[detect]'`")
    ranked = [(code, share) for code, share in _identifier().rank(text) if among is None or code in among]
    total = sum(share for _, share in ranked) or 1.0
    return [{"language": code, "confidence": round(100 * share / total, 2)} for code, share in ranked]


@cache
def _identifier() -> "LanguageIdentifier":
    from py3langid.langid import MODEL_FILE, LanguageIdentifier  # noqa: PLC0415  an extra

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
