"""The internal application, on a port that is never published: /metrics, and /readyz in detail."""

from prometheus_client import disable_created_metrics
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api import health, metrics


def create(readiness: health.Readiness) -> Starlette:
    """
    Build the internal application.

    :param readiness: that of the public one, so that a store is asked once for both
    """
    disable_created_metrics()  # type: ignore[no-untyped-call]
    app = Starlette(
        routes=[
            Route("/healthz", _alive),
            Route("/readyz", health.details),
            Route("/metrics", metrics.scrape),
        ]
    )
    app.state.readiness = readiness
    app.state.figures = metrics.asked()
    return app


async def _alive(_: Request) -> Response:
    """Answer, and touch nothing."""
    return await health.alive()
