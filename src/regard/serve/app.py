"""The application: every route of the server behind the guard. Any ASGI server can run it."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib.resources import files
from pathlib import Path

from anyio.to_thread import current_default_thread_limiter
from fastapi import APIRouter, FastAPI
from fastapi.responses import FileResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles
from starlette.concurrency import run_in_threadpool

from regard.checkpoint.shipped import examples
from regard.serve import explorer, labels, libretranslate, native, openai, operations, pictures
from regard.serve.bodies import StrictRoute
from regard.serve.described import DescribedApi
from regard.serve.errors import add_error_handlers
from regard.serve.guard import Guard
from regard.serve.models import Models, Place
from regard.serve.offered import OfferedPictures
from regard.serve.settings import Settings
from regard.serve.worker import Worker
from regard.versions import version_of

STATIC = files("regard.serve")
SPARE_THREADS = 8


def open_app(
    places: Sequence[Place],
    settings: Settings | None = None,
    *,
    device: str = "cpu",
    pictures: Sequence[Path] = (),
) -> Guard:
    """Open the models at `places` and serve them: `uvicorn.run(open_app([Place.parse("runs/small:en-de")]))`.

    The explorer page offers the `pictures` of files and folders to choose from, or if none are given those that the
    models bring along.

    Raises:
        ModelError: a model cannot be opened.
        DataError: a picture cannot be read.
        UsageError: two models have one name.
    """
    settings = settings or Settings()
    worker = Worker(batch_size=settings.batch_size, max_queue=settings.max_queue)
    models = Models(places, worker, device=device)
    brought = [path for loaded in models.loaded.values() for path in examples(loaded.folder)]
    return create_app(models, settings, OfferedPictures(pictures or brought))


def create_app(models: Models, settings: Settings, offered: OfferedPictures | None = None) -> Guard:
    """The application that serves `models`. When its server stops, so does their worker."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        # Every request may wait in a thread of its own for the one that computes; health checks need some too.
        current_default_thread_limiter().total_tokens = settings.max_requests + SPARE_THREADS
        yield
        await run_in_threadpool(models.worker.stop, settings.grace_seconds)

    api = DescribedApi(
        title="regard",
        version=version_of("regard"),
        description="Attention models behind HTTP.",
        docs_url=None,  # FastAPI's own page loads its scripts from elsewhere; regard's is in `static`
        redoc_url=None,
        lifespan=lifespan,
    )
    api.router.route_class = StrictRoute
    add_error_handlers(api)
    for router in _routers(models, settings, offered or OfferedPictures()):
        api.include_router(router)
    api.add_api_route("/", _to_the_page, include_in_schema=False)
    api.add_api_route("/docs", _to_the_docs, include_in_schema=False)
    api.include_router(explorer.page_router())
    api.mount("/static", StaticFiles(directory=Path(str(STATIC / "static"))), name="static")
    return Guard(api, settings, models.worker.metrics, drain=models.worker.drain)


def _routers(models: Models, settings: Settings, offered: OfferedPictures) -> list[APIRouter]:
    return [
        libretranslate.router(models, settings),
        native.router(models, settings),
        labels.router(models, settings),
        pictures.router(models),
        openai.router(models),
        operations.router(models),
        explorer.router(models, settings, offered),
    ]


async def _to_the_page() -> RedirectResponse:
    return RedirectResponse("/explorer/")


async def _to_the_docs() -> FileResponse:
    return FileResponse(Path(str(STATIC / "static" / "docs.html")))
