"""
/metrics: what Postgres knows of the system, and what this process knows of its own requests.

A counter here only rises, also when old runs are pruned: see :mod:`worker.figures`. No organization is a label.
"""

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.middleware import HUNG_UP
from api.once import Once
from worker import figures, log
from worker.database import transaction

logger = log.get(__name__)

# How long a scrape waits for Postgres, and how long what it said serves other scrapes.
PATIENCE_SECONDS: Final = 5.0
FRESH_SECONDS: Final = 1.0

PREFIX: Final = "audience_worker_"
# Of whom the figure of this name is a counter: metric, what it says, its labels.
COUNTERS: Final[Mapping[str, tuple[str, str, tuple[str, ...]]]] = {
    "runs": ("runs", "Runs that are over.", ("run_type", "status")),
    "retries": ("retries", "Attempts after which a run was queued again.", ("code",)),
    "rescued": ("rescued", "Runs taken back from lost workers.", ()),
    "emails": ("emails", "Ready emails that are settled.", ("status",)),
}
GAUGES: Final[Mapping[str, tuple[str, str, tuple[str, ...]]]] = {
    "under_way": ("runs_under_way", "Runs that are queued or running.", ("run_type", "status")),
    "due": ("due", "Work that could be claimed now.", ("lane",)),
    "due_seconds": ("oldest_due_seconds", "How long the oldest of it has been due.", ("lane",)),
    "silent_seconds": (
        "lane_silent_seconds",
        "How long ago a worker last looked for its work; infinite for never.",
        ("lane",),
    ),
    "emails_waiting": ("emails_waiting", "Ready emails that are not settled.", ("status",)),
    "active": ("audiences_active", "Audiences that are refreshed daily.", ()),
    "fresh": ("audiences_fresh", "Those with a completed daily run of the newest ready date.", ()),
    "fresh_share": ("fresh_share", "The same as a share; 1 when there are none.", ()),
    "late": ("audiences_late", "Those without one, two hours after it should have been queued.", ()),
    "refresh_seconds": ("oldest_refresh_seconds", "How long ago the stalest of them was refreshed.", ()),
    "ready_at": ("newest_ready_date_timestamp_seconds", "Midnight UTC of the newest ready date; 0 for none.", ()),
    "ready_seconds": ("newest_ready_date_age_seconds", "How long ago that was; infinite for none.", ()),
    "tick_seconds": ("tick_age_seconds", "How long ago a tick last passed; infinite for never.", ("tick",)),
}

OWN: Final = CollectorRegistry()
REQUESTS: Final = Counter(
    f"{PREFIX}http_requests", "Requests of this process.", ("method", "route", "status"), registry=OWN
)
SECONDS: Final = Histogram(
    f"{PREFIX}http_request_seconds",
    "How long they took to begin their answer.",
    ("method", "route"),
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
    registry=OWN,
)
PROCESS: Final = ProcessCollector(registry=OWN)
# Whatever else a client thinks of must not become a label.
METHODS: Final = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})


class Counting:
    """
    Count requests by route, never by path: paths hold ids and tokens.

    Their status is that of the answer, 4xx for a client that was gone before it, or ``cut`` for an answer that broke off.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let one request through."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status, whole = time.monotonic(), HUNG_UP, False
        elapsed: float | None = None

        async def answer(message: Message) -> None:
            nonlocal elapsed, status, whole
            if message["type"] == "http.response.start":
                status, elapsed = message["status"], time.monotonic() - started
            await send(message)
            whole = message["type"] == "http.response.body" and not message.get("more_body", False)

        try:
            await self.app(scope, receive, answer)
        finally:
            method = scope["method"] if scope["method"] in METHODS else "other"
            route = getattr(scope.get("route"), "path", "none")
            kind = "cut" if elapsed is not None and not whole else f"{status // 100}xx"
            REQUESTS.labels(method, route, kind).inc()
            if elapsed is not None:
                SECONDS.labels(method, route).observe(elapsed)


async def scrape(request: Request) -> Response:
    """Answer a scrape; when Postgres does not, with what this process knows, and a figure that says so."""
    started = time.monotonic()
    found = await request.app.state.figures.answer(seconds=PATIENCE_SECONDS)
    shown = CollectorRegistry(auto_describe=False)
    shown.register(_Families(_families(found, time.monotonic() - started)))
    return Response(generate_latest(shown) + generate_latest(OWN), media_type=CONTENT_TYPE_LATEST)


def asked() -> Once[figures.Figures | None]:
    """Return the question that scrapes ask."""
    return Once(_read, fresh_seconds=FRESH_SECONDS)


def _read() -> figures.Figures | None:
    """Ask Postgres; None when it does not answer."""
    try:
        with transaction() as connection:
            return figures.read(connection)
    except SQLAlchemyError as error:
        logger.warning("server_at_fault", code=type(error).__name__)
        return None


class _Families:
    """Metrics that are there already, in the form that a registry takes."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterable[Metric]:
        """Hand them over."""
        return self._families


def _families(found: figures.Figures | None, seconds: float) -> Iterator[Metric]:
    """Spell the figures as Prometheus has them."""
    yield GaugeMetricFamily(
        f"{PREFIX}postgres_answers", "Whether the figures could be read.", value=float(found is not None)
    )
    yield GaugeMetricFamily(f"{PREFIX}read_seconds", "How long reading them took.", value=seconds)
    if found is None:
        return
    for kind, table in ((CounterMetricFamily, COUNTERS), (GaugeMetricFamily, GAUGES)):
        for figure, (name, documentation, labels) in table.items():
            family = kind(PREFIX + name, documentation, labels=labels)
            for (_, *values), value in _of(found, figure):
                family.add_metric(values[: len(labels)], value)
            yield family
    yield _histogram(found)


def _of(found: figures.Figures, figure: str) -> list[tuple[tuple[str, str, str], float]]:
    """Return the figures of one name, in a stable order."""
    return sorted((key, value) for key, value in found.items() if key[0] == figure)


def _histogram(found: figures.Figures) -> Metric:
    """Add the buckets of the seconds of a run up."""
    family = HistogramMetricFamily(
        f"{PREFIX}run_seconds", "From claim to completion, of completed runs.", labels=("run_type",)
    )
    for (_, run_type, _), total in _of(found, "run_seconds_sum"):
        counts = [(float(bound), value) for (_, of, bound), value in _of(found, "run_seconds") if of == run_type]
        buckets = [(str(bound), sum(value for below, value in counts if below <= bound)) for bound, _ in sorted(counts)]
        family.add_metric([run_type], [(bound.replace("inf", "+Inf"), value) for bound, value in buckets], total)
    return family
