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

logger = log.get(__name__)

# One statement may rewrite a table.
MOST_SECONDS = 600


def migrate() -> dict[str, object]:
    """Apply what is missing and return the Postgres revision and the number of ClickHouse statements."""
    with database.transaction(seconds=MOST_SECONDS) as connection:
        connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended("migrate", 0))))
        command.upgrade(_alembic(connection), "head")
        revision = MigrationContext.configure(connection).get_current_revision()
    settings = configuration.current()
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
