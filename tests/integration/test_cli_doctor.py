"""Doctor: every check on servers that are well, and on servers that are not."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import redis
from builders import NOON, held, queued, saved
from commandline import command
from sqlalchemy import func, text, update
from typer.testing import Result

from cli import checks
from worker import clickhouse as door
from worker import database, exports, loads, models, presence, settings, storage, ticked
from worker.database import transaction

TICKS = ("ring", "queue_daily_runs", "watch_data", "rescue", "rescue_announcements")
NOWHERE = {
    "DATABASE_URL": "postgresql+psycopg://someone:swordfish@127.0.0.1:1/audiences",
    "REDIS_URL": "redis://:swordfish@127.0.0.1:1/0",
    "CLICKHOUSE_URL": "http://someone:swordfish@127.0.0.1:1/audiences",
    "MAIL_URL": "smtp://someone:swordfish@127.0.0.1:1",
    "STORAGE_URL": "file:///dev/null/exports",
}

Point = Callable[..., None]


@pytest.fixture
def point(stores) -> Iterator[Point]:
    """Lead this process elsewhere by the variables given, in the middle of a test."""
    storage.forget()
    with pytest.MonkeyPatch.context() as patch:

        def lead(**variables: str) -> None:
            for name, value in variables.items():
                patch.setenv(name, value)
            forget()

        yield lead
    forget()


@pytest.fixture
def broker(stores) -> Iterator["redis.Redis"]:
    """A client of Redis, which keeps its messages again at the end."""
    with redis.Redis.from_url(stores.environment["REDIS_URL"]) as client:
        yield client
        client.config_set("maxmemory-policy", "noeviction")


def forget() -> None:
    """Drop what this process has cached of its environment."""
    if database.engine.cache_info().currsize:
        database.engine().dispose()
    database.engine.cache_clear()
    settings.current.cache_clear()
    door.forget()
    storage.forget()


def doctor(*arguments: str) -> Result:
    """Run doctor in this process."""
    return command("doctor", *arguments)


def found() -> dict[str, tuple[str, str]]:
    """Return each check's state and what it says, remedy included."""
    verdicts = json.loads(doctor("--json").stdout)
    return {one["check"]: (one["state"], f"{one['says']} {one['remedy']}".strip()) for one in verdicts}


def test_all_is_well(stores, point, clickhouse):
    """Every check is one line that begins with ok, and the exit code is 0."""
    load(clickhouse, "people", today())
    load(clickhouse, "signals", today())
    loads.watch()
    with transaction() as connection:
        presence.seen(connection, "manual@host", "manual")
        for tick in TICKS:
            ticked.take(connection, tick, period_seconds=5)

    result = doctor()

    assert [["ok", name] for name in checks.CHECKS] == [line.split()[:2] for line in result.stdout.splitlines()]
    assert f"The newest ready date is {today()}." in result.stdout
    assert "Seen lately: manual 1." in result.stdout
    assert (0, "") == (result.exit_code, result.stderr)


def test_a_new_deployment_is_told_what_to_do(stores, point):
    """Without data there is a warning with the commands to come; without a scheduler a problem."""
    told = found()

    assert ("warning", "audience-worker data ready DATE") == (told["data"][0], told["data"][1][-31:])
    assert told["ticks"][0] == "problem"
    assert told["ticks"][1].startswith("The scheduler stands still: ring never passed, ")
    assert ("ok", "None seen lately; nothing is overdue.") == told["workers"]


def test_dead_servers_hide_nothing_and_tell_no_secret(stores, point):
    """Each dead server is a problem of its own, and no line carries an address or a password."""
    point(**NOWHERE)

    result = doctor()

    states = {line.split()[1]: line.split()[0] for line in result.stdout.splitlines()}
    assert dict.fromkeys(checks.CHECKS, "problem") | {"settings": "ok"} == states
    assert (1, "") == (result.exit_code, result.stderr)
    assert not [word for word in ("swordfish", "127.0.0.1", "someone", "/dev/null") if word in result.stdout]


def test_a_setting_that_cannot_work_is_named_once(stores, point):
    """The other checks wait for it instead of repeating it."""
    point(LEASE_SECONDS="many")

    told = found()

    assert told.pop("settings")[1].startswith("LEASE_SECONDS: ")
    assert {("problem", "This cannot be checked yet. Mend the settings first.")} == set(told.values())


def test_a_clickhouse_address_that_leads_astray_is_told_from_a_dead_server(stores, point):
    """A database that is not there, and a port where nobody listens, each name their variable."""
    address = stores.environment["CLICKHOUSE_URL"]
    point(CLICKHOUSE_URL=f"{address}_elsewhere")
    astray = found()["clickhouse"]
    point(CLICKHOUSE_URL=NOWHERE["CLICKHOUSE_URL"])
    dead = found()["clickhouse"]

    assert ("problem", "problem") == (astray[0], dead[0])
    assert "Check database, user and password in CLICKHOUSE_URL" in astray[1]
    assert "ClickHouse cannot be reached. Check that ClickHouse runs, and host and port in CLICKHOUSE_URL." == dead[1]


def test_tables_that_are_missing_or_of_the_wrong_type_are_named(stores, point, servers, clickhouse):
    """A database without this version's tables, and columns that their owner forgot or changed, lead to migrate."""
    clickhouse.command("DROP TABLE topics")
    clickhouse.command("ALTER TABLE people DROP COLUMN company_domain")
    clickhouse.command("ALTER TABLE people MODIFY COLUMN company_employee_count Nullable(String)")
    clickhouse.command("ALTER TABLE people MODIFY COLUMN seniority Nullable(String)")
    point(DATABASE_URL=servers.postgres.url)

    told = found()

    assert ("problem", "Run: audience-worker migrate") == (told["postgres"][0], told["postgres"][1][-28:])
    wrong = "has people.company_employee_count as Nullable(String) instead of Nullable(UInt32)"
    assert (
        f"lacks the table topics, lacks people.company_domain, {wrong}. Run: audience-worker migrate;"
        in (told["clickhouse"][1])
    )


@pytest.mark.parametrize(
    ("column", "type_", "fits"),
    [
        (("people", "seniority"), "String", True),
        (("people", "company_employee_count"), "UInt16", True),
        (("people", "role_is_ceo"), "UInt8", True),
        (("data_loads", "loaded_at"), "DateTime", True),
        (("people", "hem_hash"), "UInt32", False),
        (("intent_signals", "score"), "Nullable(UInt8)", False),
        (("intent_signals", "score"), "Float64", False),
        (("people", "source_last_seen_on"), "String", False),
    ],
)
def test_owners_may_choose_how_values_are_kept(column, type_, fits):
    """Another width of number or no nulls is read as well; another kind, a null too many or a short hash is not."""
    migrated = {(table, name): kept for table, names in checks.TABLES.items() for name, kept in names.items()}

    assert fits == (checks.misfits({**migrated, column: type_}) == [])


def test_the_columns_are_those_of_the_migrations(stores, clickhouse):
    """What doctor looks for is what the migrations make, column by column and type by type."""
    rows = clickhouse.query(
        "SELECT table, name, type FROM system.columns WHERE database = currentDatabase()"
    ).result_rows

    made = {table: {name: type_ for of, name, type_ in rows if of == table} for table, _, _ in rows}
    assert made == {table: dict(names) for table, names in checks.TABLES.items()}


def test_days_that_queueing_does_not_see_are_told(stores, point, clickhouse):
    """A day that is ready in ClickHouse alone means that nobody mirrors; an old or a future one is suspicious."""
    load(clickhouse, "people", today())
    load(clickhouse, "signals", today() - timedelta(days=9))
    unseen = found()["data"]
    loads.watch()
    old = found()["data"]
    load(clickhouse, "signals", today() + timedelta(days=9))
    future = found()["data"]

    assert {"warning"} == {unseen[0], old[0], future[0]}
    assert "queueing has None. Start beat" in unseen[1]
    assert old[1].startswith(f"The newest ready date is {today() - timedelta(days=9)}. Ask whoever")
    assert "; 1 later than today are not used." in future[1]


def test_a_redis_that_may_drop_messages_is_a_problem(stores, point, broker):
    """A memory policy that evicts is named, and so is a queue that nobody empties."""
    broker.rpush("control", *["tick"] * 101)
    full = found()["redis"]
    broker.config_set("maxmemory-policy", "allkeys-lru")
    evicting = found()["redis"]

    assert ("warning", True) == (full[0], "control 101" in full[1])
    assert ("problem", True) == (evicting[0], "allkeys-lru" in evicting[1])


def test_mail_and_files_may_go_to_folders(stores, point, tmp_path: Path):
    """A folder that can be written is well, and nothing is left in it; a file in its place is a problem."""
    point(MAIL_URL=f"file://{tmp_path}/mails")
    well = found()
    (tmp_path / "plain").write_text("")
    point(MAIL_URL=f"file://{tmp_path}/plain/mails")

    assert ("ok", "ok") == (well["mail"][0], well["storage"][0])
    assert [] == [path for folder in ("mails", "exports") for path in (tmp_path / folder).iterdir()]
    assert ("problem", "The mail folder cannot be written.") == (found()["mail"][0], found()["mail"][1][:34])


def test_overdue_work_without_a_worker_is_a_problem(stores, point):
    """The queue that nobody serves is named; a worker seen lately settles it."""
    queued(saved(), lane="daily")
    run = held()
    with transaction() as connection:
        born = {"organization_id": run.organization_id, "audience_id": run.audience_id, "run_id": run.run_id}
        exports.queue(connection, **born, due_at=NOON)

    alone = found()["workers"]
    with transaction() as connection:
        presence.seen(connection, "daily@host", "daily")
        presence.seen(connection, "announce@host", "announce")

    says = "Work has been due for a minute, and no worker was seen of: daily, announce."
    assert ("problem", f"{says} Start workers of: daily, announce.") == alone
    assert ("ok", "Seen lately: announce 1, daily 1.") == found()["workers"]


def test_leases_that_nobody_renews_are_named_with_their_workers(stores, point):
    """A worker that misses its renewals is a warning with the run's id, and a run that nobody rescues a problem."""
    running = held(now=None)
    well = found()["leases"]
    lease(running, 19)
    expiring = found()["leases"]
    lease(running, -61)

    assert ("ok", "Whoever holds a run renews its lease.") == well
    assert ("warning", True) == (expiring[0], f"renew them no more: {running.run_id} of w1. Look at" in expiring[1])
    assert "audience-worker runs release RUN_ID" in expiring[1]
    says = f"Leases ended long ago and nobody rescues these runs: {running.run_id} of w1. Start beat"
    assert ("problem", True) == (found()["leases"][0], says in found()["leases"][1])


def test_a_tick_that_stopped_is_named(stores, point):
    """Only the one that is late is told, with its age."""
    with transaction() as connection:
        for tick in TICKS:
            ticked.take(connection, tick, period_seconds=5)
        late = update(models.ticks).where(models.ticks.c.name == "rescue")
        connection.execute(late.values(passed_at=models.ticks.c.passed_at - timedelta(hours=1)))

    state, says = found()["ticks"]

    assert ("problem", True) == (state, says.startswith("The scheduler stands still: rescue 3,60"))


def test_a_clock_that_is_ahead_is_named(stores, point):
    """A PostgreSQL whose clock is nine seconds ahead is told with its distance."""
    with transaction() as connection:
        connection.execute(text("CREATE SCHEMA ahead"))
        fast = "SELECT pg_catalog.clock_timestamp() + interval '9 s'"
        clock = f"CREATE FUNCTION ahead.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS $$ {fast} $$"
        connection.execute(text(clock))
        name = connection.scalar(text("SELECT current_database()"))
        connection.execute(text(f"ALTER DATABASE {name} SET search_path = ahead, pg_catalog, public"))
    point()

    state, says = found()["clocks"]

    assert ("warning", True, True) == (state, "PostgreSQL +9.0 s" in says, "by NTP" in says)


@pytest.mark.parametrize(
    ("postgres", "clickhouse", "state"),
    [(0.1, -0.1, "ok"), (4.9, 0.0, "ok"), (-5.1, 0.0, "warning"), (0.0, 6.0, "warning"), (3.0, -3.0, "warning")],
)
def test_clocks_are_held_against_each_other(postgres, clickhouse, state):
    """Any two of three clocks that are five seconds apart are a warning."""
    assert state == checks.apart({"PostgreSQL": postgres, "ClickHouse": clickhouse}).state


def today():
    """Return today, as the servers see it."""
    return datetime.now(UTC).date()


def load(clickhouse, dataset: str, day) -> None:
    """Write one load row, as an owner of the data does."""
    names = ["dataset", "data_date", "version", "rows"]
    clickhouse.insert("data_loads", [[dataset, day, 1, 10]], column_names=names)


def lease(claim, seconds: int) -> None:
    """Let a claim's lease end so many seconds from now."""
    with transaction() as connection:
        ends = func.now() + timedelta(seconds=seconds)
        held_run = update(models.runs).where(models.runs.c.id == claim.run_id)
        connection.execute(held_run.values(lease_expires_at=ends))
