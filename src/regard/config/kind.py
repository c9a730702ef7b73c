"""A block whose class is chosen by its key `kind`."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, ValidationError
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError, core_schema

from regard.config.base import Config
from regard.errors import UsageError


@dataclass(frozen=True)
class Kind:
    """Annotation of a field: `choose(kind)` gives the class that reads the block, or raises a `UsageError`.

    Unlike a union it need not know the classes beforehand, so that a new one is a new file and no edit here.
    """

    choose: Callable[[str], type[Config]]

    def of(self, block: object) -> type[Config] | None:
        """The class for `block`, or None where its `kind` is missing or unknown."""
        kind = block.get("kind") if isinstance(block, Mapping) else None
        try:
            return self.choose(kind) if isinstance(kind, str) else None
        except UsageError:
            return None

    def validate(self, block: Any) -> Config:
        """Read `block` as the class that its `kind` names."""
        if isinstance(block, Config):
            return block
        if not isinstance(block, Mapping):
            raise PydanticCustomError("kind", "should be a block with the key `kind`")
        if not isinstance(block.get("kind"), str):
            raise _mistake("missing", block.get("kind"))
        try:
            chosen = self.choose(block["kind"])
        except UsageError as error:
            raise _mistake(PydanticCustomError("kind", "{reason}", {"reason": str(error)}), block["kind"]) from error
        return chosen.model_validate_json(json.dumps(block))

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Pydantic's hook: validate by `validate`, dump by the class that the value has."""
        return core_schema.no_info_plain_validator_function(
            self.validate,
            serialization=core_schema.plain_serializer_function_ser_schema(
                lambda value, info: value.model_dump(mode=info.mode), info_arg=True
            ),
        )


def _mistake(what: str | PydanticCustomError, value: Any) -> ValidationError:
    return ValidationError.from_exception_data("block", [InitErrorDetails(type=what, loc=("kind",), input=value)])
