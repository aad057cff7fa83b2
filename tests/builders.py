"""What tests start from: a saved audience, a ready day, a waiting run; and a look at what became of them."""

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID, uuid4

from sqlalchemy import Engine, RowMapping, create_engine, event, insert, literal, select, text

from worker import audience, audiences, manual, models, runs, settings
from worker.database import engine, transaction

MONDAY, TUESDAY, WEDNESDAY = date(2026, 5, 4), date(2026, 5, 5), date(2026, 5, 6)
NOON = datetime(2026, 5, 6, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)

Result = TypeVar("Result")


def config(*topic_ids: int) -> audience.AudienceConfig:
    """Parse the smallest config there is."""
    return audience.parse({"topicIds": list(topic_ids or (1,))})


def saved(
    *,
    organization_id: UUID | None = None,
    name: str = "Buyers",
    topics: Sequence[int] = (1,),
    status: str = "draft",
    due_now: bool = False,
    now: datetime | None = NOON,
    **refresh: Any,
) -> UUID:
    """Save an audience; what is not named here says when it is refreshed and who hears of it."""
    with transaction() as connection:
        return audiences.add(
            connection,
            organization_id=organization_id or uuid4(),
            name=name,
            config=config(*topics),
            status=status,
            refresh=audiences.Refresh(**refresh),
            due_now=due_now,
            now=now,
        )


def many_saved(count: int, *, due_at: datetime = NOON) -> None:
    """Write many active audiences of twelve zones in one statement, all due."""
    wanted = config()
    sql = """
        INSERT INTO audiences (id, organization_id, name, status, config, config_hash, timezone, next_slot_at, next_due_at)
        SELECT gen_random_uuid(), gen_random_uuid(), 'Buyers ' || n, 'active', CAST(:config AS jsonb), :hash,
               'Etc/GMT+' || n % 12, :due_at, :due_at
        FROM generate_series(1, :count) AS n
    """
    values = {"config": json.dumps(wanted.normalized), "hash": wanted.hash, "due_at": due_at, "count": count}
    with transaction() as connection:
        connection.execute(text(sql), values)


def ready(*days: date) -> None:
    """Make days ready, as the mirror of their loads would."""
    rows = [{"data_date": day, "data_version": 1, "people_version": 1, "rows": 10} for day in days]
    with transaction() as connection:
        connection.execute(insert(models.data_dates), rows)


def queued(audience_id: UUID, **values: Any) -> UUID:
    """Write one queued run of an audience; a preview unless said otherwise, because previews exclude nobody."""
    frozen = audience_row(audience_id)
    born = {name: frozen[name] for name in ("organization_id", "config", "config_hash")}
    born |= {"id": uuid4(), "audience_id": audience_id, "status": "queued", "run_type": "preview", "lane": "manual"}
    born |= {"data_date": MONDAY, "due_at": NOON, "created_at": NOON}
    with transaction() as connection:
        connection.execute(insert(models.runs).values(**{**born, **values}))
    return {**born, **values}["id"]


def many_queued(audience_id: UUID, count: int, *, due_at: datetime = NOON) -> None:
    """Write many queued previews of an audience in one statement."""
    columns = ("organization_id", "audience_id", "status", "run_type", "lane", "config", "config_hash", "data_date")
    chosen = select(
        text("gen_random_uuid()"),
        models.audiences.c.organization_id,
        models.audiences.c.id,
        *(literal(value) for value in ("queued", "preview", "manual")),
        models.audiences.c.config,
        models.audiences.c.config_hash,
        literal(MONDAY),
        literal(due_at),
    ).select_from(models.audiences, text(f"generate_series(1, {count})"))
    chosen = chosen.where(models.audiences.c.id == audience_id)
    with transaction() as connection:
        connection.execute(insert(models.runs).from_select(["id", *columns, "due_at"], chosen))


def claimed(
    wanted: int = 1,
    *,
    worker: str = "w1",
    lane: str = "manual",
    lane_max: int = 1000,
    organization_max: int = 1000,
    batch_date: date | None = MONDAY,
    now: datetime | None = NOON,
) -> list[runs.Claim]:
    """Claim a run, or a batch of Monday's runs, for a minute under ceilings that bind nobody unless said otherwise."""
    with transaction() as connection:
        return runs.claim(
            connection,
            lane,
            worker,
            wanted=wanted,
            lease_seconds=60,
            lane_max=lane_max,
            organization_max=organization_max,
            batch_date=batch_date,
            now=now,
        )


def held(audience_id: UUID | None = None, *, now: datetime | None = NOON, **values: Any) -> runs.Claim:
    """Queue one run, of a new audience unless one is named, and claim it."""
    queued(audience_id or saved(now=now), **{"due_at": now or NOON, **values})
    [claim] = claimed(lane=values.get("lane", "manual"), now=now)
    return claim


def published(results: int = 20, candidates: int = 50) -> runs.Published:
    """Make up what a completed attempt has to show."""
    return runs.Published(
        candidates=candidates,
        results=results,
        snapshot_key=uuid4(),
        written_on=NOON.date(),
        results_expire_at=NOON + timedelta(days=90),
        csv_defused=True,
        account={"read_rows": 1000, "read_bytes": 8000, "written_rows": results, "memory_bytes": 10, "elapsed_ms": 3},
    )


def run_row(run_id: UUID) -> RowMapping:
    """Read a run."""
    with transaction() as connection:
        return runs.get(connection, run_id)


def audience_row(audience_id: UUID) -> RowMapping:
    """Read an audience, deleted or not."""
    with transaction() as connection:
        query = select(models.audiences).where(models.audiences.c.id == audience_id)
        return connection.execute(query).mappings().one()


def attempts(run_id: UUID) -> list[RowMapping]:
    """Read a run's attempts, oldest first."""
    with transaction() as connection:
        return list(runs.attempts(connection, run_id))


def runs_of(audience_id: UUID) -> list[tuple[str, str, date]]:
    """List an audience's runs by type, status and data date, in the order of their data dates and types."""
    query = select(models.runs.c.run_type, models.runs.c.status, models.runs.c.data_date)
    query = query.where(models.runs.c.audience_id == audience_id)
    with transaction() as connection:
        return sorted((tuple(row) for row in connection.execute(query)), key=lambda row: (row[2], row))


def everything() -> dict[str, list[tuple[Any, ...]]]:
    """Read every row of every table, to see that nothing changed."""
    with transaction() as connection:
        return {
            table.name: sorted((tuple(row) for row in connection.execute(select(table))), key=repr)
            for table in models.metadata.sorted_tables
        }


def until_somebody_waits() -> None:
    """Return once another session of this server is seen waiting for a lock."""
    with transaction() as connection:
        for _ in range(1000):
            if connection.scalar(text("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)")):
                return
            connection.execute(text("SELECT pg_sleep(0.01)"))
    raise TimeoutError("nobody waited for a lock")


@contextmanager
def statements() -> Iterator[list[str]]:
    """Collect what this process sends to Postgres, the commits included."""
    sent: list[str] = []
    with before_each_statement(sent.append):
        yield sent


@contextmanager
def before_each_statement(act: Callable[[str], object]) -> Iterator[None]:
    """Call something before each statement and each commit of this process's engine; it may raise."""

    def executes(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        act(statement)

    def commits(_connection: Any) -> None:
        act("COMMIT")

    event.listen(engine(), "before_cursor_execute", executes)
    event.listen(engine(), "commit", commits)
    try:
        yield
    finally:
        event.remove(engine(), "before_cursor_execute", executes)
        event.remove(engine(), "commit", commits)


def together(count: int, act: Callable[[Engine, int], Result]) -> list[Result]:
    """
    Let threads act at the same moment, each with a connection at hand, and return what each got.

    :param act: takes an engine of its own and the thread's number
    """
    sessions = create_engine(settings.current().database_url.get_secret_value(), pool_size=count)
    start = threading.Barrier(count)

    def session(number: int) -> Result:
        with sessions.begin() as connection:
            connection.execute(text("SELECT 1"))
        start.wait(timeout=30)
        return act(sessions, number)

    try:
        with ThreadPoolExecutor(count) as threads:
            return list(threads.map(session, range(count)))
    finally:
        sessions.dispose()


def dates(audience_id):
    """Read an audience's three dates: last daily date, next slot, next due."""
    return tuple(audience_row(audience_id)[name] for name in ("last_daily_date", "next_slot_at", "next_due_at"))


def ask(audience_id, **wishes):
    """Ask for a run at noon."""
    return manual.queue(audience_id, now=NOON, **wishes)


def complete(run_id):
    """Carry a queued run to its end."""
    [claim] = claimed()
    assert run_id == claim.run_id
    with transaction() as connection:
        runs.complete(connection, claim, published())


def change_config(audience_id):
    """Give an audience another definition."""
    with transaction() as connection:
        connection.execute(
            models.audiences.update()
            .where(models.audiences.c.id == audience_id)
            .values(config=config(2).normalized, config_hash=config(2).hash)
        )


def end(verb, *arguments, now=NOON, **options):
    """Call one verb in a transaction of its own."""
    with transaction() as connection:
        return verb(connection, *arguments, now=now, **options)


def counted(run_id):
    """Read status, attempts and failures of a run."""
    return tuple(run_row(run_id)[name] for name in ("status", "attempts", "failures"))


def told(run_id):
    """Read code and sentence of a run."""
    return tuple(run_row(run_id)[name] for name in ("error_code", "error_message"))


def outcomes(run_id):
    """Read fence, number, charge, outcome and code of each attempt."""
    names = ("fence", "attempt", "charged", "outcome", "error_code")
    return [tuple(attempt[name] for name in names) for attempt in attempts(run_id)]


def stale():
    """Claim a run whose fence a rescuer has raised since."""
    claim = held()
    [abandoned] = end(runs.take_over, limit=5, seconds=30, now=NOON + 2 * MINUTE)
    assert claim.run_id == abandoned.run_id
    return claim
