"""What goes wrong, as an answer: one sentence, a code for programs, the number of the request.

A sentence may repeat what is wrong in a request, such as the name of a field or a beginning that no output can have,
but no text to be worked on.
"""

import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from regard.errors import UserError
from regard.serve.worker import DeadlineError, OverloadedError, StoppingError, VoidError

_LOG = logging.getLogger("regard.serve")
OPENAI_PREFIX = "/v1/chat/completions"  # whose clients look for another shape
CODES = {
    400: "bad_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    408: "body_too_slow",
    413: "too_large",
    414: "address_too_long",
    415: "unsupported_encoding",
    429: "overloaded",
    431: "headers_too_large",
    501: "not_installed",
    503: "stopping",
    504: "timeout",
}


class ApiError(Exception):
    """A status and the sentence that says why."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


_KNOWN: tuple[type[Exception], ...] = (
    ApiError,
    UserError,
    RequestValidationError,
    HTTPException,
    OverloadedError,
    StoppingError,
    DeadlineError,
    VoidError,
    Exception,
)


def error_body(path: str, status: int, message: str, request_id: str) -> dict[str, Any]:
    """The JSON of an error, in the shape that clients of `path` know."""
    code = CODES.get(status, "error")
    if path.startswith(OPENAI_PREFIX):
        return {"error": {"message": message, "type": code, "code": code, "param": None}, "request_id": request_id}
    return {"error": message, "code": code, "request_id": request_id}


def error_headers(status: int) -> dict[str, str]:
    """When to come again, where that helps."""
    return {"Retry-After": "1"} if status in (429, 503) else {}


def add_error_handlers(app: FastAPI) -> None:
    """Every exception that a route can raise becomes an answer."""
    for kind in _KNOWN:
        app.add_exception_handler(kind, _answer)


def explain(error: Exception) -> tuple[int, str]:
    """Status and sentence for `error`."""
    if isinstance(error, ApiError):
        return error.status, str(error)
    if isinstance(error, HTTPException):
        return error.status_code, str(error.detail)
    if isinstance(error, RequestValidationError):
        return 400, "; ".join(_mistake(mistake) for mistake in error.errors())
    if isinstance(error, UserError):
        return (400 if error.exit_code in (2, 3) else 500), str(error)
    if isinstance(error, OverloadedError):
        return 429, "too many sentences are waiting; try again in a moment"
    if isinstance(error, StoppingError):
        return 503, "the server is being stopped"
    if isinstance(error, DeadlineError | VoidError):
        return 504, "the answer took longer than this server allows; send less text at a time"
    return 500, "something failed inside the server; its log says what, under this request_id"


def _mistake(mistake: dict[str, Any]) -> str:
    """What is wrong and where, without the value itself."""
    where = ".".join(str(part) for part in mistake["loc"] if part != "body")
    return f"{where}: {mistake['msg']}" if where else str(mistake["msg"])


async def _answer(request: Request, error: Exception) -> JSONResponse:
    status, message = explain(error)
    request_id = request.scope.get("regard.request_id", "")
    if status == 500:
        _LOG.error("request %s failed", request_id, exc_info=error)
    body = error_body(request.url.path, status, message, request_id)
    return JSONResponse(body, status, headers=error_headers(status))
