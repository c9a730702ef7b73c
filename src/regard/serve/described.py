"""What the description of the interface (/openapi.json) says of answers: their fields, and the errors there are."""

from typing import Any, NotRequired

from fastapi import FastAPI
from typing_extensions import TypedDict

from regard.serve.errors import OPENAI_PREFIX

Weights = dict[str, list[list[list[float]]]]


class Output(TypedDict):
    """One output of a search. Scores are natural logarithms."""

    text: str
    score: float
    normalised_score: float
    tokens: list[str]
    token_scores: list[float]
    alignment: NotRequired[list[tuple[int, int]]]


class Translated(Output):
    """The best output for a text, the others of the n best, and what was asked for beside."""

    source: NotRequired[str]
    source_tokens: NotRequired[list[str]]
    alternatives: NotRequired[list[Output]]
    attention: NotRequired[Weights]
    notice: NotRequired[str]


class Html(TypedDict):
    """A text with its mark-up."""

    text: str


class Translations(TypedDict):
    """`translation` for one text, `translations` for a list."""

    model: str
    translation: NotRequired[Translated | Html]
    translations: NotRequired[list[Translated | Html]]


class Pronounced(TypedDict):
    """One pronunciation."""

    phones: list[str]
    score: float
    normalised_score: float
    word: NotRequired[str]
    alternatives: NotRequired[list["Pronounced"]]


class Pronunciations(TypedDict):
    """One for each word."""

    model: str
    pronunciations: list[Pronounced]


class Scored(TypedDict):
    """How probable a target is, in natural logarithms."""

    source: str
    target: str
    score: float
    normalised_score: float
    tokens: list[str]
    token_scores: list[float]


class Scores(TypedDict):
    """One for each pair."""

    model: str
    scores: list[Scored]


class Reply(TypedDict):
    """What the model says next."""

    model: str
    reply: str


class Classified(TypedDict):
    """The label of a text, or the tags of its words, the most probable ones with their probabilities."""

    label: str
    probability: float
    probabilities: dict[str, float] | list[dict[str, float]]
    text: NotRequired[str]
    tokens: NotRequired[list[str]]
    attention: NotRequired[Weights]
    notice: NotRequired[str]


class Classifications(TypedDict):
    """One for each text."""

    model: str
    classifications: list[Classified]


class ClassifiedPicture(TypedDict):
    """That of the picture."""

    model: str
    classification: Classified


class Captioned(Output):
    """What a picture shows; `maps` has for each token the weights [row][column]."""

    alternatives: NotRequired[list[Output]]
    maps: NotRequired[list[list[list[float]]]]
    notice: NotRequired[str]


class CaptionedPicture(TypedDict):
    """That of the picture."""

    model: str
    caption: Captioned


_TEXT = {"type": "string"}
_ERROR = {
    "type": "object",
    "properties": {"error": _TEXT, "code": _TEXT, "request_id": _TEXT},
    "required": ["error", "code", "request_id"],
}
_OPENAI_ERROR = {
    "type": "object",
    "properties": {"error": {"type": "object", "required": ["message", "code"]}, "request_id": _TEXT},
    "required": ["error", "request_id"],
}


class DescribedApi(FastAPI):
    """FastAPI, which describes an answer 422 to all that is wrong; here it is 400, and the shape is one for all."""

    def openapi(self) -> dict[str, Any]:
        """The description, made once."""
        schema = super().openapi()
        for path, operations in schema["paths"].items():
            for operation in operations.values():
                _describe_errors(path, operation["responses"])
        components = schema.get("components", {}).get("schemas", {})
        for name in ("HTTPValidationError", "ValidationError"):
            components.pop(name, None)
        return schema


def _describe_errors(path: str, responses: dict[str, Any]) -> None:
    responses.pop("422", None)
    content = {"application/json": {"schema": _OPENAI_ERROR if path.startswith(OPENAI_PREFIX) else _ERROR}}
    responses["4XX"] = {"description": "What was asked is refused; `code` and the sentence say why", "content": content}
    responses["5XX"] = {"description": "The server is stopping, or the answer takes too long", "content": content}
