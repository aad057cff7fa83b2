"""
A bell's work: claim, materialize, claim again, until nothing is due or the time is over.

A server at fault closes the lane instead of burning runs: the drain ends, and the next one asks ClickHouse first.
"""

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from worker import clickhouse, errors, log, presence, runs
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
    except errors.AttemptError as error:
        logger.warning("lane_closed", lane=lane, code=error.code)
        return {"closed": error.code}
    more = False
    while not stopping() and not outcomes["closed"]:
        more = time.monotonic() >= until
        claim = None if more else _claim(lane, worker)
        if claim is None:
            break
        outcomes[materialize(claim, leaving=leaving)] += 1
        ids.append(str(claim.run_id))
    return {**+outcomes, "more": more, "last": ids[-SHOWN:], "seconds": round(time.monotonic() - started, 3)}


def _claim(lane: str, worker: str) -> runs.Claim | None:
    """Take the lane's next run, if one is due and the ceilings leave room."""
    settings = configuration.current()
    with transaction() as connection:
        claims = runs.claim(
            connection,
            lane,
            worker,
            lease_seconds=settings.lease_seconds,
            lane_max=settings.lane_max_statements,
            organization_max=settings.organization_max_statements,
        )
    return claims[0] if claims else None
