"""The HTTP side, put together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI

from api import audiences, auth, bells, envelope, exports, health, metrics, middleware, pages, results, runs, threads
from worker import database, log, settings


class Api(FastAPI):
    """The public application, which documents what it answers and nothing else."""

    def openapi(self) -> dict[str, Any]:
        """Describe it, less the framework's own refusal: nothing here answers with 422."""
        described = super().openapi()
        for operations in described["paths"].values():
            for operation in operations.values():
                operation["responses"].pop("422", None)
        for name in ("HTTPValidationError", "ValidationError"):
            described["components"]["schemas"].pop(name, None)
        return described


def create() -> FastAPI:
    """Build the public application."""
    current = settings.current()
    log.configure(current.log_format, current.log_level)
    app = Api(
        title="Orbit API",
        version="1.0.0",
        description="Audiences, materialization runs, results, stats and CSV export.",
        openapi_url="/openapi.json",
        docs_url=None,
        redoc_url=None,
        lifespan=_life,
        redirect_slashes=False,
    )
    for noun in (audiences, runs, results, exports, pages, health):
        app.include_router(noun.router)
    envelope.install(app)
    app.add_middleware(middleware.Passage)
    app.add_middleware(metrics.Counting)
    app.state.door = auth.Door(current)
    app.state.bells = bells.Bells()
    app.state.readiness = health.Readiness()
    return app


@asynccontextmanager
async def _life(_: FastAPI) -> AsyncIterator[None]:
    """Run as many threads as there are connections for; let go of the connections at the end."""
    threads.share()
    yield
    database.engine().dispose()
