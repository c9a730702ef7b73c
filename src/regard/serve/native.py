"""regard's own routes: all that a model can tell of its output."""

from collections.abc import Iterator, Sequence
from typing import Any

from fastapi import APIRouter, Response

from regard.errors import UsageError
from regard.pipelines.chat import Chat as Conversation
from regard.pipelines.markup import translate_html
from regard.pipelines.translate import Translation
from regard.serve import described, requests
from regard.serve.answers import respond_json, translation_json
from regard.serve.bodies import StrictRoute
from regard.serve.errors import ApiError
from regard.serve.models import Models, ServedModel
from regard.serve.settings import Settings
from regard.serve.sse import STILL_HERE, begun, event, respond
from regard.serve.updates import updates
from regard.serve.weights import refuse_too_many

Piece = str | Translation | None


def router(models: Models, settings: Settings) -> APIRouter:
    """`/v1/translate`, `/v1/pronounce`, `/v1/score`, `/v1/chat`."""
    routes = APIRouter(prefix="/v1", route_class=StrictRoute, tags=["regard"])

    @routes.post("/translate", response_model=described.Translations)
    def translate(body: requests.Translate) -> Response:
        """Translate one text or a list, with as much of how it came about as is asked for."""
        model = choose(models, body.model, body.source, body.target)
        if body.stream:
            return respond(begun(_translation_events(model, body)))
        texts = bounded([body.text] if isinstance(body.text, str) else body.text, settings)
        if body.format == "html":
            done = [{"text": html} for html in translate_html(model.translator, texts, **body.search())]
            return respond_json({"model": model.name, **_one_or_many(body.text, done)})
        done = _translated(model, texts, body)
        return respond_json({"model": model.name, **_one_or_many(body.text, done)})

    @routes.post("/pronounce", response_model=described.Pronunciations)
    def pronounce(body: requests.Pronounce) -> Response:
        """The pronunciations of words, with a model that was trained for it."""
        model = models.get(body.model)
        words = bounded(body.words, settings)
        done = model.translator.translate(words, batch_size=len(words), **body.search())
        return respond_json({"model": model.name, "pronunciations": [_pronunciation(each) for each in done]})

    @routes.post("/score", response_model=described.Scores)
    def score(body: requests.Score) -> Response:
        """How probable the model finds given translations, in natural logarithms."""
        model = models.get(body.model)
        search: dict[str, Any] = {} if body.length_penalty is None else {"length_penalty": body.length_penalty}
        pairs = bounded(body.pairs, settings)
        scored = model.score(pairs, **search)
        keys = ("score", "normalised_score", "tokens", "token_scores")
        done = [{"source": source, "target": target} for source, target in pairs]
        for values, each in zip(done, scored, strict=True):
            values |= {key: getattr(each, key) for key in keys}
        return respond_json({"model": model.name, "scores": done})

    @routes.post("/chat", response_model=described.Reply)
    def chat(body: requests.Chat) -> Response:
        """Answer the last turn of a conversation."""
        model = models.get(body.model)
        pieces = reply(model, body.turns, body.history or model.history, body.search())
        if body.stream:
            return respond(begun(_chat_events(pieces)))
        return respond_json({"model": model.name, "reply": whole(pieces).text})

    return routes


def choose(models: Models, name: str | None, source: str | None, target: str | None) -> ServedModel:
    """The model of that name, or for those languages, or the first.

    Raises:
        UsageError: there is none.
    """
    if name is not None or (source is None and target is None):
        return models.get(name)
    found = models.between(source or "", target or "")
    if found is None:
        raise UsageError("no model here translates between these languages; /languages lists what there is")
    return found


def bounded(texts: Sequence[Any], settings: Settings) -> list[Any]:
    """`texts`, if they are not too many.

    Raises:
        ApiError: they are.
    """
    if len(texts) > settings.max_texts:
        raise ApiError(413, f"{len(texts):,} texts at once; send {settings.max_texts:,} at most")
    return list(texts)


def reply(model: ServedModel, turns: Sequence[str], history: int, search: dict[str, Any]) -> Iterator[Piece]:
    """The answer to the last of `turns`, piece by piece, None where nothing comes for a while; at last all of it."""
    *before, last = turns
    conversation, said = Conversation(model.translator, history=history, said=before, **search), ""
    for update in updates(model, conversation.read(last), row=conversation.num_replies, **search):
        if update is None:
            yield None
            continue
        if update.text.startswith(said):  # what was sent cannot be taken back; else the end brings the rest
            yield update.text[len(said) :]
            said = update.text
        if isinstance(update, Translation):
            yield update


def whole(pieces: Iterator[Piece]) -> Translation:
    """What `reply` ends with."""
    *_, last = pieces
    assert isinstance(last, Translation)
    return last


def _translated(model: ServedModel, texts: list[str], body: requests.Translate) -> list[dict[str, Any]]:
    done = model.translator.translate(texts, prefixes=body.prefix, batch_size=max(1, len(texts)), **body.search())

    if body.alignment or body.attention or body.replace_unk:
        refuse_too_many(model.translator.loaded[0].model, done, given=body.attention)
        model.translator.look_at_all(done)
    if body.replace_unk:
        done = [model.translator.replace_unknown(each) for each in done]
    return [translation_json(each, alignment=body.alignment, attention=body.attention) for each in done]


def _translation_events(model: ServedModel, body: requests.Translate) -> Iterator[bytes]:
    """`token` where the output grew, `beam` where the search changed its mind, and `done` with all of it."""
    assert isinstance(body.text, str)
    for update in updates(model, body.text, prefix=body.prefix, **body.search()):
        if update is None:
            yield STILL_HERE
        elif isinstance(update, Translation):
            if body.alignment or body.attention:
                refuse_too_many(model.translator.loaded[0].model, [update], given=body.attention)
            values = translation_json(update, alignment=body.alignment, attention=body.attention)
            yield event("done", {"model": model.name, "translation": values})
        elif update.revised_from is None:
            yield event("token", {"text": update.added, "step": update.step})
        else:
            yield event("beam", {"text": update.text, "revised_from": update.revised_from, "step": update.step})


def _chat_events(pieces: Iterator[Piece]) -> Iterator[bytes]:
    for piece in pieces:
        if piece is None:
            yield STILL_HERE
        elif isinstance(piece, Translation):
            yield event("done", {"reply": piece.text})
        else:
            yield event("token", {"text": piece})


def _one_or_many(text: str | list[str], done: list[dict[str, Any]]) -> dict[str, Any]:
    return {"translation": done[0]} if isinstance(text, str) else {"translations": done}


def _pronunciation(translation: Translation) -> dict[str, Any]:
    def one(output: Translation) -> dict[str, Any]:
        return {"phones": output.text.split(), "score": output.score, "normalised_score": output.normalised_score}

    best = {"word": translation.source, **one(translation)}
    if translation.alternatives:
        best["alternatives"] = [one(output) for output in translation.alternatives]
    return best
