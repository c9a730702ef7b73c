"""OpenAI's chat completions, so that programs written for them can talk with a model of one's own."""

import time
import uuid
from collections.abc import Iterator
from typing import Any

from fastapi import APIRouter, Response

from regard.pipelines.translate import Translation
from regard.serve.answers import respond_json
from regard.serve.bodies import StrictRoute
from regard.serve.errors import ApiError
from regard.serve.models import Models, ServedModel
from regard.serve.native import Piece, reply, whole
from regard.serve.requests import Completion
from regard.serve.sse import STILL_HERE, begun, event, respond

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
        done = whole(pieces)
        message = {"role": "assistant", "content": done.text}
        choice = {"index": 0, "message": message, "finish_reason": _finish_reason(done)}
        usage = _usage(model, body.turns, done.text)
        return respond_json({**head, "object": "chat.completion", "choices": [choice], "usage": usage})

    return routes


def _chunks(head: dict[str, Any], pieces: Iterator[Piece]) -> Iterator[bytes]:
    def chunk(delta: dict[str, str], finish_reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        return event(None, {**head, "object": "chat.completion.chunk", "choices": [choice]})

    role = {"role": "assistant"}  # stands beside the first piece, or beside the end of an empty reply
    for piece in pieces:
        if piece is None:
            yield STILL_HERE
        elif isinstance(piece, Translation):
            yield chunk(role, _finish_reason(piece))
            yield DONE
        else:
            yield chunk({**role, "content": piece})
            role = {}


def _finish_reason(reply: Translation) -> str:
    return "length" if reply.notice else "stop"  # the only notice that a reply can have is that it was cut off


def _usage(model: ServedModel, turns: list[str], text: str) -> dict[str, int]:
    """Tokens of what the model could read and of what it said."""
    read = sum(len(model.translator.vocabularies.source_tokenizer.encode(turn)) for turn in turns[-model.history :])
    said = len(model.translator.vocabularies.target.encode(text))
    return {"prompt_tokens": read, "completion_tokens": said, "total_tokens": read + said}
