"""From a file and the command line to a typed configuration, with all mistakes reported at once."""

import json
from collections.abc import Iterable
from typing import TypeVar

from pydantic import ValidationError

from regard.config.base import Config
from regard.config.document import Document, load_yaml
from regard.config.explain import explain
from regard.config.override import override
from regard.errors import UsageError

__all__ = ["Document", "load_yaml", "parse"]

SomeConfig = TypeVar("SomeConfig", bound=Config)


def parse(config_class: type[SomeConfig], document: Document, overrides: Iterable[str] = ()) -> SomeConfig:
    """Read `document`, changed by `overrides` such as `model.size=256`, as a `config_class`.

    Raises:
        UsageError: every mistake, one a line: `file:line: key: what is wrong; did you mean ...?`
    """
    document = override(document, overrides)
    try:
        # By way of JSON, strict types still take what YAML has no type for: a list for a tuple, text for a path.
        return config_class.model_validate_json(json.dumps(document.values))
    except ValidationError as error:
        mistakes = explain(config_class, document, error)
    if len(mistakes) == 1:
        raise UsageError(mistakes[0])
    raise UsageError("\n  ".join([f"{document.name} has {len(mistakes)} mistakes:", *mistakes]))
