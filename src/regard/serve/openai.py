"""OpenAI's chat completions, so that programs written for them can talk with a model of one's own."""

import time
import uuid
from collections.abc import Iterator
from typing import Any

from fastapi import APIRouter, Response

from regard.serve.answers import respond_json
from regard.serve.bodies import StrictRoute
from regard.serve.errors import ApiError
from regard.serve.models import Models, ServedModel
from regard.serve.native import reply
from regard.serve.requests import Completion
from regard.serve.sse import begun, event, respond

DONE = b"data: [DONE]\n\n"


def router(models: Models) -> APIRouter:
    """`/v1/chat/completions`."""
    routes = APIRouter(prefix="/v1", route_class=StrictRoute, tags=["OpenAI"])

    @routes.post("/chat/completions")
    def complete(body: Completion) -> Response:
        """The next turn of the conversation `messages`. Models read the last turn, or `history` of them."""
        model = models.get(body.model)
        if not body.turns:
            raise ApiError(400, "messages: there is nothing from a user to answer")
        pieces = reply(model, body.turns, model.history, body.search())
        head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": model.name}
        if body.stream:
            return respond(begun(_chunks(head, pieces)))
        text = "".join(pieces)
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        usage = _usage(model, body.turns, text)
        return respond_json({**head, "object": "chat.completion", "choices": [choice], "usage": usage})

    return routes


def _chunks(head: dict[str, Any], pieces: Iterator[str]) -> Iterator[bytes]:
    def chunk(delta: dict[str, str], finish_reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        return event(None, {**head, "object": "chat.completion.chunk", "choices": [choice]})

    first = next(pieces, "")
    yield chunk({"role": "assistant", "content": first})
    for piece in pieces:
        yield chunk({"content": piece})
    yield chunk({}, "stop")
    yield DONE


def _usage(model: ServedModel, turns: list[str], text: str) -> dict[str, int]:
    """Tokens of what the model could read and of what it said."""
    read = sum(len(model.translator.vocabularies.source_tokenizer.encode(turn)) for turn in turns[-model.history :])
    said = len(model.translator.vocabularies.target.encode(text))
    return {"prompt_tokens": read, "completion_tokens": said, "total_tokens": read + said}
