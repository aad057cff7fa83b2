"""Which workers are alive and claiming."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from importlib.metadata import version

from sqlalchemy import Connection, RowMapping, delete, func, select
from sqlalchemy.dialects.postgresql import insert

from worker.database import moment
from worker.models import workers


def seen(connection: Connection, name: str, lane: str, *, now: datetime | None = None) -> None:
    """Note that a worker has just looked for work: written by the task path itself, so it proves consumption."""
    values = {"name": name, "lane": lane, "version": version("audience-worker"), "last_claim_at": moment(now)}
    connection.execute(
        insert(workers).values(**values).on_conflict_do_update(index_elements=[workers.c.name], set_=values)
    )


def alive(connection: Connection, *, within_seconds: float, now: datetime | None = None) -> Sequence[RowMapping]:
    """Return the workers that looked for work lately, by lane and name."""
    since = moment(now) - func.make_interval(0, 0, 0, 0, 0, 0, within_seconds)
    query = select(workers).where(workers.c.last_claim_at >= since).order_by(workers.c.lane, workers.c.name)
    return connection.execute(query).mappings().all()


def forget(connection: Connection, *, days: int, now: datetime | None = None) -> int:
    """Delete the workers that have not looked for work for so long, and return how many there were."""
    return connection.execute(
        delete(workers).where(workers.c.last_claim_at < moment(now) - timedelta(days=days))
    ).rowcount
