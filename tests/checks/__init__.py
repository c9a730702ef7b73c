"""Checks that any model must pass, as plain functions: the tests call them, and the mutation suite sees them fail."""
