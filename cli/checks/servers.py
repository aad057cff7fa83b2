"""Whether the settings can work, and whether each server answers and is what the worker needs."""

from typing import Final
from uuid import uuid4

from redis import RedisError
from sqlalchemy import text

from cli import broker
from cli.checks.columns import TABLES, misfits
from cli.checks.verdict import MIGRATE, Verdict
from worker import clickhouse, mailer, migrate, settings, storage
from worker.app import QUEUES
from worker.database import transaction

LEAST_POSTGRES: Final = 160_000
FULL_QUEUE: Final = 100
SHOWN: Final = 3
COLUMNS: Final = """
SELECT table, name, type FROM system.columns WHERE database = currentDatabase() AND table IN {tables:Array(String)}
"""


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
    """Reach ClickHouse, with every table and column that statements name, of the types that they can read."""
    version = clickhouse.query("SELECT version()").rows[0][0]
    rows = clickhouse.query(COLUMNS, {"tables": list(TABLES)}).rows
    wrong = misfits({(table, name): type_ for table, name, type_ in rows})
    if wrong:
        more = f" and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        remedy = f"{MIGRATE}; columns of tables that somebody else fills are theirs to mend (docs/source-contract.md)."
        return Verdict("problem", f"ClickHouse {version} {', '.join(wrong[:SHOWN])}{more}.", remedy)
    return Verdict("ok", f"ClickHouse {version} answers and has all tables and columns.")


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
