"""When each tick last passed: doubled beats and backlogs answer themselves here."""

from datetime import datetime

from sqlalchemy import Connection, delete, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from worker.database import moment
from worker.models import ticks


def take(connection: Connection, name: str, *, period_seconds: float, now: datetime | None = None) -> bool:
    """
    Take a tick's turn and return whether there was one to take.

    There is none when its last pass is younger than half its period: then somebody else has just done the work. A
    pass that lies a period ahead was noted by a clock that has been set back since, and counts for nothing.
    """
    half, whole = (func.make_interval(0, 0, 0, 0, 0, 0, seconds) for seconds in (period_seconds / 2, period_seconds))
    taken = connection.scalar(
        insert(ticks)
        .values(name=name, passed_at=moment(now))
        .on_conflict_do_update(
            index_elements=[ticks.c.name],
            set_={"passed_at": moment(now)},
            where=or_(ticks.c.passed_at <= moment(now) - half, ticks.c.passed_at > moment(now) + whole),
        )
        .returning(ticks.c.name)
    )
    return taken is not None


def last(connection: Connection, name: str) -> datetime | None:
    """Return when a tick last passed."""
    passed_at: datetime | None = connection.scalar(select(ticks.c.passed_at).where(ticks.c.name == name))
    return passed_at


def give_back(connection: Connection, name: str, passed_at: datetime | None) -> None:
    """Note that a turn came to nothing: the last pass is the one before it."""
    if passed_at is None:
        connection.execute(delete(ticks).where(ticks.c.name == name))
    else:
        connection.execute(update(ticks).where(ticks.c.name == name).values(passed_at=passed_at))


def ages(connection: Connection, *, now: datetime | None = None) -> dict[str, float]:
    """Return the seconds since each tick's last pass."""
    age = func.extract("epoch", moment(now) - ticks.c.passed_at)
    return {name: float(seconds) for name, seconds in connection.execute(select(ticks.c.name, age))}
