"""Typed configuration from YAML, with errors that teach. Never imports torch."""
