"""Settings that are not what they are by default: such a one should have an effect."""

from regard.config.base import Config


def departs(config: Config, name: str) -> bool:
    """Whether this field is not what it is by default."""
    return bool(getattr(config, name) != type(config).model_fields[name].default)
