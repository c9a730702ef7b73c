"""LibreTranslate's interface, so that its clients and plugins work unchanged with models of one's own."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from regard.errors import UsageError
from regard.pipelines.markup import translate_html
from regard.pipelines.translate import Translation
from regard.serve.answers import respond_json
from regard.serve.bodies import StrictRoute, description, either_form
from regard.serve.errors import ApiError
from regard.serve.guard import bearer, is_key
from regard.serve.language import detect, language_name
from regard.serve.models import Models, ServedModel
from regard.serve.native import bounded
from regard.serve.settings import Settings

AUTO = "auto"
MOST_ALTERNATIVES = 16
UNSUPPORTED = "these languages are not supported; /languages lists those that are"


class _Keyed(BaseModel):
    """What a client may send beside these fields is LibreTranslate's affair."""

    model_config = ConfigDict(extra="ignore")

    api_key: str | None = None


class TranslateQuery(_Keyed):
    """`q` is one text or a list; a text may have several lines, which are translated one by one."""

    model_config = ConfigDict(
        extra="ignore", json_schema_extra={"examples": [{"q": "A man plays guitar.", "source": "en", "target": "de"}]}
    )

    q: str | list[str]
    source: Annotated[str, Field(max_length=20)]
    target: Annotated[str, Field(max_length=20)]
    format: Literal["text", "html"] = "text"
    alternatives: Annotated[int, Field(ge=0, le=MOST_ALTERNATIVES)] = 0


class DetectQuery(_Keyed):
    """A text whose language is asked for."""

    model_config = ConfigDict(extra="ignore", json_schema_extra={"examples": [{"q": "Ein Mann spielt Gitarre."}]})

    q: str


def router(models: Models, settings: Settings) -> APIRouter:
    """`/translate`, `/languages`, `/detect`, `/health`, `/frontend/settings`."""
    routes = APIRouter(route_class=StrictRoute, tags=["LibreTranslate"])

    def check_key(request: Request, query: _Keyed) -> None:
        in_header = bearer(request.headers.get("authorization", "").encode("latin-1"))
        if not is_key(query.api_key or in_header, settings):
            raise ApiError(403, "Invalid API key")

    @routes.post("/translate", openapi_extra=description(TranslateQuery))
    def translate(request: Request, query: Annotated[TranslateQuery, Depends(either_form(TranslateQuery))]) -> Response:
        """Translate a text or a list of them, with all their lines."""
        check_key(request, query)
        return respond_json(_translate(models, settings, query))

    @routes.post("/detect", openapi_extra=description(DetectQuery))
    def find_language(request: Request, query: Annotated[DetectQuery, Depends(either_form(DetectQuery))]) -> Response:
        """The languages that a text may be in."""
        check_key(request, query)
        return respond_json(detect(query.q)[:5])

    @routes.get("/languages")
    def languages(request: Request, query: Annotated[_Keyed, Depends(either_form(_Keyed))]) -> list[dict[str, Any]]:
        """What can be translated into what."""
        check_key(request, query)
        pairs = [model.pair for model in models if model.pair]
        return [
            {
                "code": code,
                "name": language_name(code),
                "targets": sorted({target for source, target in pairs if source == code} | {code}),
            }
            for code in dict.fromkeys(code for pair in pairs for code in pair)
        ]

    @routes.get("/health")
    def health() -> dict[str, str]:
        """The server answers; whether its models work, /health/ready says."""
        return {"status": "ok"}

    @routes.get("/frontend/settings")
    def frontend() -> dict[str, Any]:
        """What LibreTranslate's own page would ask for."""
        pair = next((model.pair for model in models if model.pair), (AUTO, AUTO))
        names = [{"code": code, "name": language_name(code)} for code in pair]
        return {
            "apiKeys": settings.api_key is not None,
            "keyRequired": settings.api_key is not None,
            "charLimit": -1,
            "filesTranslation": False,
            "frontendTimeout": 500,
            "language": {"source": names[0], "target": names[1]},
            "suggestions": False,
            "supportedFilesFormat": [],
        }

    return routes


def _translate(models: Models, settings: Settings, query: TranslateQuery) -> dict[str, Any]:
    texts = bounded([query.q] if isinstance(query.q, str) else query.q, settings)
    num_lines = sum(text.count("\n") + 1 for text in texts)
    if query.format == "text" and num_lines > settings.max_queue:  # more could never wait for the model
        raise ApiError(413, f"{num_lines:,} lines at once; send {settings.max_queue:,} at most")
    values: dict[str, list[Any]] = {"translatedText": [""] * len(texts)}
    sources = [query.source] * len(texts)
    if query.source == AUTO:
        among = {model.pair[0] for model in models if model.pair and model.pair[1] == query.target} | {query.target}
        detected = [detect(text, among)[:1] for text in texts]
        if not all(detected):  # none of these languages is one that can be told
            raise ApiError(400, UNSUPPORTED)
        values["detectedLanguage"] = [best for (best,) in detected]
        sources = [each["language"] for each in values["detectedLanguage"]]
    if query.alternatives:
        values["alternatives"] = [[] for _ in texts]
    for source in dict.fromkeys(sources):
        places = [place for place, each in enumerate(sources) if each == source]
        outputs = _between(models, source, query, [texts[place] for place in places])
        for place, (best, *others) in zip(places, outputs, strict=True):
            values["translatedText"][place] = best
            if query.alternatives:
                values["alternatives"][place] = others
    return values if isinstance(query.q, list) else {name: each[0] for name, each in values.items()}


def _between(models: Models, source: str, query: TranslateQuery, texts: list[str]) -> list[list[str]]:
    """The outputs of each text, the best first."""
    if source == query.target:
        return [[text] for text in texts]
    model = models.between(source, query.target)
    if model is None:
        raise ApiError(400, UNSUPPORTED)
    if query.format == "html":
        if query.alternatives:
            raise ApiError(400, "alternatives are for the format text")
        return [[html] for html in translate_html(model.translator, texts)]
    return [_joined(lines) for lines in _by_lines(model, texts, query.alternatives)]


def _by_lines(model: ServedModel, texts: list[str], alternatives: int) -> list[list[Translation]]:
    """The translations of each line of each text, all of them searched together."""
    lines = [text.split("\n") for text in texts]
    search: dict[str, Any] = {}
    if alternatives:
        search = {"n_best": alternatives + 1}
        search["beam_size"] = max(alternatives + 1, model.translator.search.beam_size)
    every = [line for each in lines for line in each]
    done = model.translator.translate(every, batch_size=max(1, len(every)), **search)
    for each in done:
        if each.notice and not each.ids:
            raise UsageError(f"a line was {each.notice}")
    rest = iter(done)
    return [[next(rest) for _ in each] for each in lines]


def _joined(lines: list[Translation]) -> list[str]:
    """The outputs of a text from those of its lines; where a line has fewer, its best stands in."""
    most = max(len(line.alternatives) for line in lines)
    ranked = [[line, *line.alternatives] for line in lines]
    return ["\n".join(each[min(rank, len(each) - 1)].text for each in ranked) for rank in range(most + 1)]
