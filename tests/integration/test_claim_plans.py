"""
What a claim reads beside many finished runs, in pages, whichever plan Postgres takes.

CLAIM_FINISHED says how many there are: 100,000 in every run of the tests, a million in ``make plans``.
"""

import json
import logging
import os
import re

import pytest
from builders import MONDAY
from sqlalchemy import text

from worker import database
from worker.runs.claim import CLAIM

logger = logging.getLogger(__name__)

FINISHED = int(os.environ.get("CLAIM_FINISHED", "100000"))
STEP = 50_000
ORGANIZATIONS, DUE = 50, 10_000
NAMES = ("now", "lane", "wanted", "organization_max", "lane_max", "worker", "lease_seconds", "batch_date", "batch")
TYPES = ("timestamptz", "text", "integer", "integer", "integer", "text", "double precision", "date", "uuid")
WANTED = 64
VALUES = f"now(), 'daily', {WANTED}, 2, 4, 'w1', 60.0, '{MONDAY}', gen_random_uuid()"

AUDIENCES = """
INSERT INTO audiences (id, organization_id, name, status, config, config_hash)
SELECT gen_random_uuid(), gen_random_uuid(), 'Buyers', 'draft', '{}', repeat('a', 64) FROM generate_series(1, :count)
"""
WAITING = """
INSERT INTO runs (id, organization_id, audience_id, status, run_type, lane, config, config_hash, data_date, due_at)
SELECT gen_random_uuid(), organization_id, id, 'queued', 'preview', 'daily', config, config_hash, :day, now()
FROM audiences, generate_series(1, :each)
"""
ENDED = """
INSERT INTO runs (id, organization_id, audience_id, status, run_type, lane, config, config_hash, data_date, due_at,
                  fence, attempts, snapshot_key, written_on, results_expire_at, csv_defused,
                  completed_at, finished_at, created_at)
SELECT gen_random_uuid(), organization_id, id, 'completed', 'preview', 'daily', config, config_hash, :day, at,
       1, 1, gen_random_uuid(), at::date, at + interval '90 days', true, at, at, at
FROM audiences, generate_series(1, :each) AS number, LATERAL (SELECT now() - number * interval '1 minute') AS ended(at)
"""


@pytest.fixture
def connection(stores):
    """A session that commits each statement for itself, because VACUUM does."""
    with database.engine().connect().execution_options(isolation_level="AUTOCOMMIT") as session:
        yield session


def test_a_claim_reads_as_much_beside_many_finished_runs(connection):
    """With 10,000 due, finished runs cost neither plan more than a fifth, and both reach runs by its indexes alone."""
    connection.execute(text(AUDIENCES), {"count": ORGANIZATIONS})
    connection.execute(text(WAITING), {"day": MONDAY, "each": DUE // ORGANIZATIONS})
    alone = {mode: claimed(connection, mode) for mode in ("generic", "custom")}
    # Nobody is born finished: without its triggers the table takes a million rows in a bearable time.
    connection.execute(text("SET session_replication_role = replica"))
    for _ in range(FINISHED // STEP):
        connection.execute(text(ENDED), {"day": MONDAY, "each": STEP // ORGANIZATIONS})
    connection.execute(text("SET session_replication_role = origin"))

    for mode, without in alone.items():
        plan = claimed(connection, mode)
        assert plan["Plan"]["Actual Rows"] == WANTED
        told = (mode, pages(without), pages(plan), FINISHED, plan["Execution Time"])
        logger.info("%s plan: %s pages alone, %s beside %s finished runs, %.1f ms", *told)
        assert {"runs_due", "runs_leased", "runs_pkey"} == ways(plan["Plan"])
        assert pages(plan) <= 1.2 * pages(without)


def claimed(connection, mode):
    """Let Postgres carry a claim out under one kind of plan, undo it, and return what it tells of it."""
    connection.execute(text("VACUUM (ANALYZE) runs"))
    places = {name: f"${place}" for place, name in enumerate(NAMES, start=1)}
    sql = re.sub(rf":({'|'.join(NAMES)})\b", lambda found: places[found[1]], str(CLAIM))
    connection.exec_driver_sql("DEALLOCATE ALL")
    connection.exec_driver_sql(f"SET plan_cache_mode = force_{mode}_plan")
    connection.exec_driver_sql(f"PREPARE claiming({', '.join(TYPES)}) AS {sql}")
    connection.exec_driver_sql("BEGIN")
    told = connection.exec_driver_sql(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE claiming({VALUES})").scalar()
    connection.exec_driver_sql("ROLLBACK")
    return (json.loads(told) if isinstance(told, str) else told)[0]


def pages(plan):
    """Count the pages that a plan has looked at, wherever they were."""
    return plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"]


def ways(node):
    """Name the indexes by which a plan reads runs; a look at the whole table is a name too."""
    found = {node["Index Name"]} if node["Node Type"].endswith(("Index Scan", "Index Only Scan")) else set()
    if node["Node Type"] == "Seq Scan" and node["Relation Name"] == "runs":
        found.add("the whole table")
    return {name for name in found if name.startswith(("runs", "the"))}.union(*map(ways, node.get("Plans", ())))
