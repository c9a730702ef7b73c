"""The base of every configuration class: frozen, strict, and closed against unknown keys; perhaps with presets."""

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, model_validator

Presets = Mapping[str, Mapping[str, Any]]


class Config(BaseModel):
    """A configuration block. It stands directly above the component it describes; only `build` reads it."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", validate_default=True, allow_inf_nan=False)


class WithPresets(Config):
    """A block with a field `preset`, the name of one of `presets`, which gives what is not said."""

    presets: ClassVar[Presets] = {}

    @model_validator(mode="before")
    @classmethod
    def _fill_from_preset(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        chosen = given.get("preset", cls.model_fields["preset"].default)
        return {**cls.presets.get(str(chosen), {}), **given}
