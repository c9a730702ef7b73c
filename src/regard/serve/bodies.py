"""Reading what clients send: JSON as strictly as orjson reads it, and forms where LibreTranslate's clients use them."""

import base64
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import orjson
from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError
from starlette.datastructures import UploadFile

from regard.serve.errors import ApiError

Query = TypeVar("Query", bound=BaseModel)
FORM, MULTIPART = "application/x-www-form-urlencoded", "multipart/form-data"
MOST_FIELDS = 1000
MOST_TEXT = 32 << 20  # the guard has counted already


class _StrictRequest(Request):
    """Python's own parser takes NaN, halves of surrogate pairs and the like, and fails later."""

    async def json(self) -> Any:
        return orjson.loads(await self.body())


class StrictRoute(APIRoute):
    """A route whose JSON is read strictly."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's handler, given the strict request."""
        handle = super().get_route_handler()

        async def strictly(request: Request) -> Response:
            return await handle(_StrictRequest(request.scope, request.receive))

        return strictly


def either_form(kind: type[Query], *, files: int = 0) -> Callable[[Request], Awaitable[Query]]:
    """A dependency that reads a `kind` from JSON or from a form, as the content type says.

    So many `files` may be in a form; each becomes base64.
    """

    async def read(request: Request) -> Query:
        try:
            return kind.model_validate(await _values(request, files))
        except ValidationError as error:
            raise RequestValidationError(error.errors(include_input=False, include_url=False)) from None

    return read


def description(kind: type[BaseModel], *, files: int = 0) -> dict[str, Any]:
    """What `either_form` takes, for the description of the interface."""
    schema = kind.model_json_schema()
    return {
        "requestBody": {
            "required": True,
            "content": {name: {"schema": schema} for name in ("application/json", MULTIPART if files else FORM)},
        }
    }


async def _values(request: Request, files: int) -> Any:
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    body = await request.body()
    if not body and request.method == "GET":
        return {}
    try:
        if content_type == "application/json":
            return orjson.loads(body)
        if content_type == MULTIPART:
            async with request.form(max_files=files, max_fields=MOST_FIELDS, max_part_size=MOST_TEXT) as form:
                return _collected([(name, await _text(value)) for name, value in form.multi_items()])
        text = body.decode("ascii")
        return _collected(parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=MOST_FIELDS))
    except (ValueError, RecursionError):  # orjson's and UnicodeDecodeError are of this kind
        raise ApiError(400, "the body is neither JSON nor a form; its content type says which it should be") from None


def _collected(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A name that stands there several times has a list for its value."""
    values: dict[str, Any] = {}
    for name, value in pairs:
        if name in values:
            values[name] = [*(values[name] if isinstance(values[name], list) else [values[name]]), value]
        else:
            values[name] = value
    return values


async def _text(value: UploadFile | str) -> str:
    return value if isinstance(value, str) else base64.b64encode(await value.read()).decode()
