"""The routes of the explorer page: what it asks the server for. The page itself is static, in the folder `explorer`."""

from fastapi import APIRouter

from regard.serve.models import Models


def router(models: Models) -> APIRouter:
    """The routes under `/api/v1`."""
    return APIRouter(prefix="/api/v1")
