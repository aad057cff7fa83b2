"""
The story of a day's serving index: built by whichever worker of the daily lane comes first, waited for by the others.

Daily runs wait for it for INDEX_WAIT_SECONDS from when it was first wanted; after that, and where it cannot be built,
they go the direct way. A worker that goes away leaves the pieces that stand to the next one.
"""

import math
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

from structlog.contextvars import bound_contextvars

from worker import attempt, clickhouse, errors, lease, loads, log, plan, serving
from worker import settings as configuration
from worker.database import named_outages, transaction

logger = log.get(__name__)

# Between two tries of a building that went wrong.
AGAIN_SECONDS = 10
# Pieces are written in few, large parts, which need little merging afterwards. People with signals lie in all granules:
# looking for granules without them is in vain.
PART = {
    "min_insert_block_size_rows": 2_000_000,
    "min_insert_block_size_bytes": 512_000_000,
    "max_insert_threads": 2,
    "use_index_for_in_with_subqueries": 0,
}


@dataclass(frozen=True, slots=True)
class Prepared:
    """The index that the newest day's runs are picked from, or whether they are to wait for one."""

    index: serving.Index | None = None
    waiting: bool = False


def prepare(worker: str, *, leaving: Callable[[], bool], stopping: Callable[[], bool] = lambda: False) -> Prepared:
    """
    Return the index of the newest ready date, built by us if nobody else is building it.

    :param stopping: asked before each piece; once true, the rest is left to somebody else
    :param leaving: True when the worker has no time left
    :raises AttemptError: named by what went wrong with a server
    """
    if not configuration.current().index_wait_seconds:
        return Prepared()
    newest = _newest()
    if newest is None:
        return Prepared()
    index = _ready(*newest)
    if index is None and not stopping():
        _want(*newest)
        _build(*newest, worker, leaving=leaving, stopping=stopping)
        index = _ready(*newest)
    return Prepared(index, waiting=index is None and _young(*newest))


def wanted() -> bool:
    """Return whether the newest ready date has no index yet, so that somebody should come and build it."""
    newest = _newest() if configuration.current().index_wait_seconds else None
    return newest is not None and _ready(*newest) is None


def ready(data_date: date) -> serving.Index | None:
    """Return the index of a day as the mirror has it, if it may be read; nobody waits for it or builds it."""
    with transaction() as connection:
        versions = loads.mirrored(connection).get(data_date)
        return serving.ready(connection, data_date, attempt.seen(versions)) if versions else None


def _newest() -> tuple[date, serving.Versions] | None:
    """Return the newest ready date and its versions."""
    with transaction() as connection:
        data_date = loads.ready_date(connection)
        return (data_date, attempt.seen(loads.mirrored(connection)[data_date])) if data_date else None


def _ready(data_date: date, versions: serving.Versions) -> serving.Index | None:
    with transaction() as connection:
        return serving.ready(connection, data_date, versions)


def _young(data_date: date, versions: serving.Versions) -> bool:
    """Return whether an index was asked for so lately that it is worth waiting for."""
    with transaction() as connection:
        age = serving.age(connection, data_date, versions, now=None)
    return age is not None and age < configuration.current().index_wait_seconds


def _want(data_date: date, versions: serving.Versions) -> None:
    """Ask for the index, in as few pieces as can be: each costs every run that is picked from it."""
    with transaction() as connection:
        if serving.age(connection, data_date, versions, now=None) is not None:
            return
    settings = configuration.current()
    signals, people = serving.sizes(data_date)
    pieces = max(1, math.ceil(signals / settings.index_piece_signals), math.ceil(people / settings.index_piece_people))
    with transaction() as connection:
        serving.want(connection, data_date, versions, pieces, now=None)


def _build(
    data_date: date,
    versions: serving.Versions,
    worker: str,
    *,
    leaving: Callable[[], bool],
    stopping: Callable[[], bool],
) -> None:
    """Write the pieces that are missing, under a lease, unless somebody else does."""
    settings = configuration.current()
    with transaction() as connection:
        held = serving.claim(connection, data_date, versions, worker, lease_seconds=settings.lease_seconds, now=None)
    if held is None:
        return
    with bound_contextvars(index_id=str(held.id), data_date=str(data_date), fence=held.fence):
        try:
            with named_outages():
                _write(held, versions, leaving=leaving, stopping=stopping)
        except (errors.ClaimLost, errors.WorkerLeaving):
            logger.info("index_left")
            _let_go(held)
        except errors.AttemptError as error:
            logger.warning("index_not_built", code=error.code)
            _let_go(held, error)
            if error.retry.closes_lane:
                raise
            return
        _tidy()


def _write(
    held: serving.Building,
    versions: serving.Versions,
    *,
    leaving: Callable[[], bool],
    stopping: Callable[[], bool],
) -> None:
    """Write piece after piece; what was built from data that has moved since is not ready."""
    settings = configuration.current()
    limits = plan.limits(
        settings.query_seconds,
        settings.query_memory_bytes,
        settings.query_threads,
        lighter=False,
        workload=settings.workload("daily"),
    )

    def renew() -> bool:
        with transaction() as connection:
            return serving.renew(connection, held, seconds=settings.lease_seconds)

    ids = [query_id for place in range(held.wanted) for query_id in held.query_ids(place)]
    with lease.kept(
        renew,
        seconds=settings.lease_seconds,
        margin=settings.lease_margin_seconds,
        leaving=leaving,
        on_end=lambda: clickhouse.kill(ids),
    ) as keeping:
        for place in range(len(held.pieces), held.wanted):
            if stopping():
                raise errors.WorkerLeaving
            piece = secrets.randbits(63)
            serving.write(held, place, piece, {**limits, **PART})
            keeping.check()
            if attempt.seen(loads.versions(held.data_date)) != versions:
                raise errors.DataChanged
            with transaction() as connection:
                whole = serving.add(connection, held, piece)
            logger.info("index_ready" if whole else "index_piece_written", piece=place + 1, pieces=held.wanted)


def _let_go(held: serving.Building, error: errors.AttemptError | None = None) -> None:
    """Leave the rest to whoever comes next; what cannot be written down now ends with the lease."""
    seconds = AGAIN_SECONDS if error else 0
    with transaction() as connection:
        serving.release(connection, held, seconds=seconds, error_code=error.code if error else None, now=None)


def _tidy() -> None:
    """Give up old indexes and drop what nobody reads; what fails now is done after the next building."""
    try:
        with transaction() as connection:
            known = serving.give_up_old(connection, now=None)
        dropped = serving.sweep(known)
    except errors.AttemptError as error:
        logger.warning("old_pieces_kept", code=error.code)
    else:
        logger.info("old_pieces_dropped", pieces=dropped)
