"""The base of every configuration class: frozen, strict, and closed against unknown keys."""

from pydantic import BaseModel, ConfigDict


class Config(BaseModel):
    """A configuration block. It stands directly above the component it describes; only `build` reads it."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", validate_default=True, allow_inf_nan=False)
