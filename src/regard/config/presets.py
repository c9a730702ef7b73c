"""A configuration block whose `preset` gives what is not said."""

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import model_validator

from regard.config.base import Config

Presets = Mapping[str, Mapping[str, Any]]


class WithPresets(Config):
    """It has a field `preset`, the name of one of its `presets`."""

    presets: ClassVar[Presets] = {}

    @model_validator(mode="before")
    @classmethod
    def _fill_from_preset(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        chosen = given.get("preset", cls.model_fields["preset"].default)
        return {**cls.presets.get(str(chosen), {}), **given}
