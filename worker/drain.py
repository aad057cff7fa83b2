"""
A bell's work: claim, materialize, claim again, until nothing is due or the time is over.

A server at fault closes the lane instead of burning runs: the drain ends, and the next one asks ClickHouse first.
"""

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection

from worker import batch, clickhouse, errors, indexing, log, presence, runs
from worker import settings as configuration
from worker.database import transaction
from worker.materialize import materialize

logger = log.get(__name__)

SHOWN = 5


def drain(
    lane: str,
    worker: str,
    *,
    stopping: Callable[[], bool] = lambda: False,
    leaving: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """
    Work on a lane's due runs and return what came of them: runs by outcome, ids of the last few, seconds.

    :param worker: this worker's name, written on every claim
    :param stopping: asked before each claim; once true, nothing new is started
    :param leaving: asked while a run is under way; once true, the run is handed back
    """
    started = time.monotonic()
    until = started + configuration.current().drain_seconds
    outcomes: Counter[str] = Counter()
    ids: list[str] = []
    with transaction() as connection:
        presence.seen(connection, worker, lane)
    try:
        clickhouse.ping()
        prepared = _prepared(lane, worker, lambda: stopping() or time.monotonic() >= until, leaving)
    except errors.AttemptError as error:
        logger.warning("lane_closed", lane=lane, code=error.code)
        return {"closed": error.code}
    if prepared.waiting:
        return {"waiting": "serving_index"}
    more = False
    while not stopping() and not outcomes["closed"]:
        more = time.monotonic() >= until
        claims = [] if more else _claim(lane, worker, prepared)
        if not claims:
            break
        outcomes += _work(claims, prepared, leaving, lambda: time.monotonic() >= until)
        ids.extend(str(claim.run_id) for claim in claims)
    return {**+outcomes, "more": more, "last": ids[-SHOWN:], "seconds": round(time.monotonic() - started, 3)}


def _prepared(lane: str, worker: str, stopping: Callable[[], bool], leaving: Callable[[], bool]) -> indexing.Prepared:
    """Look for the index that the lane's runs are picked from; those that somebody waits for never wait for it."""
    if lane == "daily":
        return indexing.prepare(worker, stopping=stopping, leaving=leaving)
    return indexing.Prepared()


def _claim(lane: str, worker: str, prepared: indexing.Prepared) -> list[runs.Claim]:
    """Take the lane's next run, or a batch of them where there is an index, if the ceilings leave room."""
    settings = configuration.current()
    with transaction() as connection:
        return runs.claim(
            connection,
            lane,
            worker,
            wanted=_fair(connection, lane) if prepared.index else 1,
            batch_date=prepared.index.data_date if prepared.index else None,
            lease_seconds=settings.lease_seconds,
            lane_max=settings.lane_max_statements,
            organization_max=settings.organization_max_statements,
        )


def _fair(connection: Connection, lane: str) -> int:
    """Return how many runs a batch may take: what is due is shared out among the lane's places."""
    settings = configuration.current()
    if settings.batch_runs == 1:
        return 1
    due = runs.due(connection, limit=settings.batch_runs * settings.lane_max_statements)[lane]
    return min(settings.batch_runs, max(1, -(-due // settings.lane_max_statements)))


def _work(
    claims: list[runs.Claim],
    prepared: indexing.Prepared,
    leaving: Callable[[], bool],
    enough: Callable[[], bool],
) -> Counter[str]:
    """Carry a run, or a batch, to its end, by its day's index where there is one."""
    data_date = claims[0].data_date
    ours = prepared.index if prepared.index and prepared.index.data_date == data_date else indexing.ready(data_date)
    if ours:
        return batch.work(claims, ours, leaving=leaving, enough=enough)
    return Counter([materialize(claims[0], leaving=leaving)])
