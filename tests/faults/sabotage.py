"""Break one line of the package on purpose, to see whether a test notices."""

import contextlib
import inspect
import textwrap
from collections.abc import Callable, Iterator
from typing import Any


@contextlib.contextmanager
def sabotaged(function: Callable[..., Any], old: str, new: str) -> Iterator[None]:
    """While inside, `function` runs with `old` replaced by `new` in its source, whoever calls it."""
    original = inspect.unwrap(getattr(function, "__func__", function))
    lines = textwrap.dedent(inspect.getsource(original)).splitlines(keepends=True)
    first = next(number for number, line in enumerate(lines) if line.startswith("def "))
    source = "".join(lines[first:])
    assert source.count(old) == 1, f"{old!r} stands {source.count(old)} times in {original.__qualname__}"
    namespace: dict[str, Any] = {}
    changed = compile(source.replace(old, new), original.__code__.co_filename, "exec")
    exec(changed, original.__globals__, namespace)  # noqa: S102
    code = original.__code__
    original.__code__ = namespace[original.__name__].__code__
    try:
        yield
    finally:
        original.__code__ = code
