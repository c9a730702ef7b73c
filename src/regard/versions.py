"""Which version of a package is installed."""

from importlib.metadata import PackageNotFoundError, version


def version_of(package: str) -> str:
    """The version of a package, or "unknown": a source tree on Python's path has none, and is no reason to fail."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"
