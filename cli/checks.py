"""
What doctor looks at: each check asks one thing and returns a verdict.

Nothing said here carries an address, a password or anybody's data.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final, Literal
from uuid import uuid4

from redis import RedisError
from sqlalchemy import text

from cli import broker
from worker import (
    audiences,
    clickhouse,
    emails,
    exports,
    loads,
    mailer,
    migrate,
    person,
    presence,
    runs,
    settings,
    storage,
    ticked,
)
from worker.app import QUEUES
from worker.database import transaction

MIGRATE: Final = "Run: audience-worker migrate"
START: Final = "Start beat and the control worker; if they run, look at their logs."
LEAST_POSTGRES: Final = 160_000
OLD_DAYS: Final = 2
FULL_QUEUE: Final = 100
SKEW_SECONDS: Final = 5.0
OVERDUE_SECONDS: Final = 60
LATE_SECONDS: Final = 60
LATE_PERIODS: Final = 4

TABLES: Final[Mapping[str, Sequence[str]]] = {
    "intent_signals": ("data_date", "topic_id", "hem_hash", "score"),
    "people": ("hem_hash", *person.COLUMNS),
    "topics": ("topic_id", "name", "type", "industry", "category"),
    "data_loads": ("dataset", "data_date", "version", "rows", "loaded_at"),
    "erased_people": ("hem_hash", "erased_at"),
    "audience_results": (
        *("snapshot_key", "written_on", "rank", "data_date", "hem_hash", "score", "topic_overlap", "matched_topics"),
        *person.COLUMNS,
    ),
}
COLUMNS: Final = """
SELECT table, name FROM system.columns WHERE database = currentDatabase() AND table IN {tables:Array(String)}
"""


@dataclass(frozen=True, slots=True)
class Verdict:
    """
    What a check came to.

    :param state: ``problem`` keeps work from being done, ``warning`` does not yet
    :param says: how it stands, as a sentence
    :param remedy: what to do about it; empty where all is well
    """

    state: Literal["ok", "warning", "problem"]
    says: str
    remedy: str = ""


def check_settings() -> Verdict:
    """Read every variable."""
    settings.read()
    return Verdict("ok", "Every variable can work.")


def check_postgres() -> Verdict:
    """Reach PostgreSQL, new enough and migrated."""
    with transaction() as connection:
        number = int(connection.execute(text("SHOW server_version_num")).scalar_one())
        pending = migrate.pending(connection)
    version = f"PostgreSQL {number // 10_000}.{number % 10_000}"
    if pending:
        return Verdict("problem", f"{version} lacks this version's tables.", MIGRATE)
    if number < LEAST_POSTGRES:
        return Verdict("warning", f"{version} is older than what this was tried on.", "Use PostgreSQL 16 or newer.")
    return Verdict("ok", f"{version} answers and is migrated.")


def check_clickhouse() -> Verdict:
    """Reach ClickHouse, with every table and column that statements name."""
    version = clickhouse.query("SELECT version()").rows[0][0]
    found = {(table, name) for table, name in clickhouse.query(COLUMNS, {"tables": list(TABLES)}).rows}
    missing = [f"{table}.{name}" for table, names in TABLES.items() for name in names if (table, name) not in found]
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""  # noqa: PLR2004 - the three shown below
        remedy = f"{MIGRATE}; columns of tables that somebody else fills are theirs to add."
        return Verdict("problem", f"ClickHouse {version} lacks {', '.join(missing[:3])}{more}.", remedy)
    return Verdict("ok", f"ClickHouse {version} answers and has all tables and columns.")


def check_data() -> Verdict:
    """Find the newest ready date, as queueing sees it and as ClickHouse has it."""
    with transaction() as connection:
        ready = loads.ready_date(connection)
        today = audiences.clock(connection, None).date()
    complete = sorted(loads.complete())
    past = [day for day in complete if day <= today]
    if not past and ready is None:
        remedy = "Load people and a day of signals, then: audience-worker data ready DATE"
        return Verdict("warning", "No day of intent data is ready, so no run can be queued.", remedy)
    if not past or ready != past[-1]:
        newest = past[-1] if past else "no day"
        return Verdict("warning", f"ClickHouse has {newest} as newest ready date, queueing has {ready}.", START)
    return _aged(ready, today, future=len(complete) - len(past))


def check_redis() -> Verdict:
    """Reach the broker, which must evict nothing, and count the waiting messages."""
    try:
        with broker.opened() as client:
            policy = client.info("memory").get("maxmemory_policy", "unknown")
            waiting = {queue: int(client.llen(queue)) for queue in QUEUES}
    except RedisError:
        return Verdict("problem", "Redis does not answer as it should.", "Check that it runs, and REDIS_URL.")
    if policy != "noeviction":
        remedy = "Give Celery a Redis of its own with maxmemory-policy noeviction."
        return Verdict("problem", f"Redis may drop messages: its maxmemory-policy is {policy}.", remedy)
    lengths = ", ".join(f"{queue} {length}" for queue, length in waiting.items())
    if max(waiting.values()) > FULL_QUEUE:
        return Verdict("warning", f"Redis holds more bells than anybody answers: {lengths}.", "Start more workers.")
    return Verdict("ok", f"Redis answers and evicts nothing; messages waiting: {lengths}.")


def check_mail() -> Verdict:
    """Connect and log in to the mail server, or write into the folder."""
    try:
        with mailer.outbox() as outbox:
            outbox.check()
    except mailer.NotSent as error:
        return Verdict("problem", error.reply, "Check MAIL_URL and MAIL_TLS; mails wait until it is mended.")
    return Verdict("ok", "Mail can leave.")


def check_storage() -> Verdict:
    """Write a file, read it and delete it."""
    path, wanted = f"doctor-{uuid4()}.txt", b"audience-worker doctor\n"
    storage.put(path, [wanted], "text/plain")
    found = b"".join(storage.read(path))
    storage.delete(path)
    if found != wanted:
        return Verdict("problem", "The storage gives back other bytes than it got.", "Check STORAGE_URL.")
    return Verdict("ok", "Files can be written, read and deleted.")


def check_workers() -> Verdict:
    """See whether somebody serves each queue that has overdue work."""
    with transaction() as connection:
        seen = presence.alive(connection, within_seconds=settings.current().task_hard_seconds)
        before = audiences.clock(connection, None) - timedelta(seconds=OVERDUE_SECONDS)
        overdue = runs.due(connection, limit=1, now=before)
        overdue["announce"] = exports.due(connection, limit=1, now=before) + emails.due(connection, limit=1, now=before)
    lanes = [worker["lane"] for worker in seen]
    idle = [lane for lane, count in overdue.items() if count and lane not in lanes]
    if idle:
        says = f"Work has been due for a minute, and no worker was seen of: {', '.join(idle)}."
        return Verdict("problem", says, f"Start workers of: {', '.join(idle)}.")
    counted = ", ".join(f"{lane} {lanes.count(lane)}" for lane in sorted(set(lanes)))
    return Verdict("ok", f"Seen lately: {counted}." if counted else "None seen lately; nothing is overdue.")


def check_ticks() -> Verdict:
    """See whether every tick has passed lately."""
    current = settings.current()
    periods = {
        "ring": current.ring_seconds,
        "queue_daily_runs": current.queue_seconds,
        "watch_data": current.watch_seconds,
        "rescue": current.rescue_seconds,
        "rescue_announcements": current.rescue_seconds,
    }
    with transaction() as connection:
        ages = ticked.ages(connection)
    late = [name for name, period in periods.items() if ages.get(name, float("inf")) > _patience(period)]
    if late:
        told = ", ".join(f"{name} {_age(ages.get(name))}" for name in late)
        return Verdict("problem", f"The scheduler stands still: {told}.", START)
    return Verdict(
        "ok", "Every tick passed lately: " + ", ".join(f"{name} {_age(ages[name])}" for name in periods) + "."
    )


def check_clocks() -> Verdict:
    """Compare the clocks of PostgreSQL, ClickHouse and this machine."""
    return apart({"PostgreSQL": _skew(_postgres_time), "ClickHouse": _skew(_clickhouse_time)})


CHECKS: Final[Mapping[str, Callable[[], Verdict]]] = {
    "settings": check_settings,
    "postgres": check_postgres,
    "clickhouse": check_clickhouse,
    "data": check_data,
    "redis": check_redis,
    "mail": check_mail,
    "storage": check_storage,
    "workers": check_workers,
    "ticks": check_ticks,
    "clocks": check_clocks,
}
"""In the order to mend them."""


def apart(skews: Mapping[str, float]) -> Verdict:
    """Judge how far clocks are ahead of ours, in seconds, and of each other."""
    told = ", ".join(f"{name} {seconds:+.1f} s" for name, seconds in skews.items())
    values = [0.0, *skews.values()]
    if max(values) - min(values) >= SKEW_SECONDS:
        return Verdict("warning", f"Clocks are apart; seen from here: {told}.", "Let every machine keep time by NTP.")
    return Verdict("ok", f"Clocks agree; seen from here: {told}.")


def _aged(ready: date, today: date, *, future: int) -> Verdict:
    """Judge how old the newest ready date is, and whether days lie in the future."""
    if future:
        says = f"The newest ready date is {ready}; {future} later than today are not used."
        return Verdict("warning", says, "Correct the load rows that name days to come.")
    if (today - ready).days > OLD_DAYS:
        return Verdict("warning", f"The newest ready date is {ready}.", "Ask whoever loads the data for newer days.")
    return Verdict("ok", f"The newest ready date is {ready}.")


def _patience(period: float) -> float:
    """Return how old a tick's last pass may be, in seconds."""
    return max(LATE_SECONDS, LATE_PERIODS * period)


def _age(seconds: float | None) -> str:
    """Write an age."""
    return "never passed" if seconds is None else f"{seconds:,.0f} s ago"


def _skew(asked: Callable[[], datetime]) -> float:
    """Return how many seconds a server's clock is ahead of ours, the way to it taken into account."""
    before = datetime.now(UTC)
    theirs = asked()
    ours = before + (datetime.now(UTC) - before) / 2
    return (theirs - ours).total_seconds()


def _postgres_time() -> datetime:
    """Return PostgreSQL's time."""
    with transaction() as connection:
        now: datetime = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
    return now


def _clickhouse_time() -> datetime:
    """Return ClickHouse's time."""
    milliseconds = clickhouse.query("SELECT toUnixTimestamp64Milli(now64(3))").rows[0][0]
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
