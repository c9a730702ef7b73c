"""For whoever runs the server: is it alive, is it ready, what is it doing, which models has it."""

from fastapi import APIRouter, Response
from starlette.concurrency import run_in_threadpool

from regard.serve.bodies import StrictRoute
from regard.serve.errors import ApiError
from regard.serve.models import Models
from regard.serve.ticket import Ticket, holding

READY_SECONDS = 60.0  # a model that takes longer for one word is no use


def router(models: Models) -> APIRouter:
    """`/health/live`, `/health/ready`, `/metrics`, `/v1/models`."""
    routes, warm = APIRouter(route_class=StrictRoute), set[str]()

    @routes.get("/health/live", tags=["operations"])
    async def live() -> dict[str, str]:
        """The server answers."""
        return {"status": "ok"}

    @routes.get("/health/ready", tags=["operations"])
    async def ready() -> dict[str, str]:
        """Every model has done something once, and more work is taken."""
        if not models.worker.is_alive:
            raise ApiError(503, "the server is being stopped")
        for model in models.all.values():
            if model.name not in warm:
                with holding(Ticket(READY_SECONDS)):
                    await run_in_threadpool(model.warm_up)
                warm.add(model.name)
        return {"status": "ok"}

    @routes.get("/metrics", tags=["operations"])
    async def metrics() -> Response:
        """Counters for Prometheus."""
        models.worker.metrics.queue_length.set(models.worker.queue_length)
        return Response(models.worker.metrics.text(), media_type="text/plain; version=0.0.4")

    @routes.get("/v1/models", tags=["operations"])
    async def list_models() -> dict[str, object]:
        """The models, in OpenAI's shape."""
        entries = [
            {"id": model.name, "object": "model", "owned_by": "regard", "source": model.source, "target": model.target}
            for model in models.all.values()
        ]
        return {"object": "list", "data": entries}

    return routes
