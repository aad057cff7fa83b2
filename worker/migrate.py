"""
Bring both stores to the shape this version expects.

Idempotent: it may run at every deployment, and two at once stand in line behind an advisory lock.
"""

from importlib import resources

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, func, select

from worker import clickhouse, database, ddl, erasures, log
from worker import settings as configuration
from worker.errors import Refusal

logger = log.get(__name__)

# One statement may rewrite a table.
MOST_SECONDS = 600

# Tables that hold their rows themselves.
WHOLE = """
SELECT name FROM system.tables
WHERE database = currentDatabase() AND name IN {tables:Array(String)} AND engine != 'Distributed' ORDER BY name
"""


def migrate() -> dict[str, object]:
    """
    Apply what is missing and return the Postgres revision and the number of ClickHouse statements.

    :raises Refusal: where tables of one server stand in the way of shards; nothing was changed
    """
    settings = configuration.current()
    if settings.shards:
        _refuse_whole_tables()
    with database.transaction(seconds=MOST_SECONDS) as connection:
        connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended("migrate", 0))))
        command.upgrade(_alembic(connection), "head")
        revision = MigrationContext.configure(connection).get_current_revision()
    statements = ddl.statements(
        settings.clickhouse_cluster or None,
        replicated=settings.clickhouse_replicated,
        sharded=settings.clickhouse_sharded,
        retention_days=settings.snapshot_retention_days,
    )
    for _, sql in statements:
        clickhouse.command(sql)
    _leave_out()
    logger.info("migrated", revision=revision, statements=len(statements))
    return {"revision": revision, "statements": len(statements)}


def pending(connection: Connection) -> bool:
    """
    Return whether Postgres lacks a migration of this version.

    A revision that this version does not know is a newer one's: while a deployment goes on, the old processes work.
    """
    scripts = ScriptDirectory.from_config(_alembic(connection))
    known = {script.revision for script in scripts.walk_revisions()} - {scripts.get_current_head()}
    return MigrationContext.configure(connection).get_current_revision() in {None, *known}


def _refuse_whole_tables() -> None:
    """Refuse tables that hold their rows themselves where statements expect to find the rows of all shards."""
    rows = clickhouse.query(WHOLE, {"tables": list(ddl.SHARDED_BY)}).rows
    if rows:
        names = ", ".join(name for (name,) in rows)
        raise Refusal(f"Not of shards, though CLICKHOUSE_SHARDED is set: {names}. Use a database without them.")


def _leave_out() -> None:
    """Tell ClickHouse, which may have been set up anew or restored, whom no run may find."""
    with database.transaction() as connection:
        people = [int(row["hem_hash"]) for row in erasures.saved(connection)]
    erasures.leave_out(people)


def _alembic(connection: Connection) -> Config:
    """Point Alembic at our scripts and at an open connection."""
    config = Config()
    config.set_main_option("script_location", str(resources.files("worker") / "migrations"))
    config.attributes["connection"] = connection
    return config
