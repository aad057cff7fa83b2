"""Two ClickHouse servers that hold half of the people each answer as one server does that holds all of them."""

import tempfile
from contextlib import ExitStack
from datetime import UTC, date, datetime
from pathlib import Path
from uuid import UUID, uuid4

import clickhouse_connect
import pytest

from local.clickhouse import CLUSTER, ClickHouse
from local.process import free_port
from worker import (
    audience,
    changes,
    clickhouse,
    ddl,
    erasures,
    loads,
    plan,
    selections,
    serving,
    serving_plan,
    settings,
)

DAY = date(2026, 11, 20)
LIMITS = plan.limits(60, 1_000_000_000, 1, lighter=False)
KEPT = "SELECT * EXCEPT (snapshot_key, written_on) FROM audience_results WHERE snapshot_key = {key:UUID} ORDER BY rank"

PEOPLE = """
INSERT INTO people (hem_hash, hashed_email, seniority, job_title, company_name, company_employee_count, phone)
SELECT
    cityHash64(email), email, ['vp', 'CFO', NULL][1 + number % 3], concat('Title ', toString(number % 7)),
    if(number % 5 = 0, NULL, concat('Firm ', toString(number % 11))), number % 900, if(number % 2 = 0, '+1', '')
FROM (SELECT number, lower(hex(SHA256(toString(number)))) AS email FROM numbers(1500))
"""
SIGNALS = f"""
INSERT INTO intent_signals
SELECT '{DAY}', 1 + number % 5, cityHash64(lower(hex(SHA256(toString(cityHash64(number) % 1700))))), 50 + number % 50
FROM numbers(6000)
"""
TOPICS = "INSERT INTO topics (topic_id, name) SELECT number, concat('Topic ', toString(number)) FROM numbers(1, 4)"
CONFIGS = [
    {"topicIds": [1]},
    {"topicIds": [1, 2, 3], "minTopicOverlap": 2, "minScore": 60, "filters": {"contact.hasPhone": True}},
    {"topicIds": [2, 5], "filters": {"role.seniority": {"values": ["vp", "cfo"]}}},
    {"topicIds": [1, 4], "filters": {"jobTitle.include": {"values": ["title 3", "LE 5"], "operator": "contains"}}},
    {
        "topicIds": [3, 4],
        "filters": {"jobTitle.exclude": {"values": ["Title 1"]}, "company.employeeCount": {"min": 400}},
    },
    {"topicIds": [99]},
]


@pytest.fixture(scope="module")
def pair():
    """Two servers, each a shard of one cluster."""
    ports = free_port(), free_port()
    with tempfile.TemporaryDirectory(prefix="aw-") as folder, ExitStack() as running:
        servers = [
            ClickHouse(Path(folder) / f"shard-{number}", native_port=port, shards=ports, memory=1_000_000_000)
            for number, port in enumerate(ports)
        ]
        for server in servers:
            server.launch()
            running.callback(server.stop)
        for server in servers:
            server.wait()
        yield [_database(running, it.url) for it in servers], _within(servers[0].url)


def _within(url):
    """Lead to a database of another name than the one that servers fall back on."""
    return f"{url.rpartition('/')[0]}/audience"


def _database(running, url):
    """Make a server's database, and return a client of it."""
    with clickhouse_connect.get_client(dsn=url, autogenerate_session_id=False) as admin:
        admin.command("CREATE DATABASE audience")
    return running.enter_context(clickhouse_connect.get_client(dsn=_within(url), autogenerate_session_id=False))


@pytest.fixture
def shards(pair, stores, monkeypatch):
    """Migrate both shards and empty them; a function leads this process there, and the two servers' clients."""
    clients, url = pair
    for client in clients:
        for _, sql in ddl.statements(CLUSTER, replicated=False, sharded=True, retention_days=90):
            # Whoever hands a statement round a cluster is a Keeper, which there is none of here.
            client.command(sql.replace(ddl.on_cluster(CLUSTER), ""))
        client.command("TRUNCATE ALL TABLES FROM audience LIKE '%_shard'")

    def go():
        for name, value in (("URL", url), ("CLUSTER", CLUSTER), ("SHARDED", "true")):
            monkeypatch.setenv(f"CLICKHOUSE_{name}", value)
        settings.current.cache_clear()
        clickhouse.forget()

    return clients, go


def send(how, statement):
    """Send one statement of a plan the way the worker does."""
    return how(statement.sql, statement.parameters, options=statement.settings)


def loaded():
    """Load the same day through the names that statements use, one person of it erased."""
    for sql in (PEOPLE, SIGNALS, TOPICS):
        clickhouse.command(sql)
    someone = clickhouse.query("SELECT min(hem_hash) FROM intent_signals WHERE topic_id = 1 AND score >= 70").rows[0][0]
    erasures.leave_out([someone])


def direct(config):
    """Count, write and verify one config the direct way; return its counts, its verification and its rows."""
    key = uuid4()
    planned = plan.build(
        audience.parse(config),
        DAY,
        queries=plan.load(),
        snapshot_key=key,
        written_on=DAY,
        max_execution_seconds=60,
        max_memory_bytes=1_000_000_000,
        max_threads=1,
    )
    (counted,) = send(clickhouse.query, planned.count).rows
    send(clickhouse.command, planned.write)
    (verified,) = send(clickhouse.query, planned.verify).rows
    return tuple(counted), tuple(verified), frozen(key)


def picked(few):
    """Index the day in two pieces and pick all configs at once; return each one's counts and snapshot key."""
    held = serving.Building(uuid4(), 1, DAY, (), 2, 0)
    for position, piece in enumerate((71, 72)):
        serving.write(held, position, piece, {**LIMITS, "max_insert_threads": 2})
    keys = [uuid4() for _ in CONFIGS]
    planned = serving_plan.pick(
        [audience.parse(config) for config in CONFIGS],
        (71, 72),
        batch=uuid4(),
        snapshot_keys=keys,
        data_date=DAY,
        written_on=datetime.now(UTC).date(),
        settings=LIMITS,
    )
    selections.pick(planned, str(uuid4()))
    selections.freeze(planned, str(uuid4()), few=few)
    found = selections.frozen(planned, str(uuid4()))
    assert all(one.whole(one.counted.results) for one in found)
    versions = loads.versions(DAY)
    assert {(versions.data_version, versions.people_version)} == {one.loaded for one in found}
    counts = [one.counted for one in found]
    return [((it.candidates, it.results), key) for it, key in zip(counts, keys, strict=True)]


def frozen(key: UUID):
    """Read what stands under a snapshot key, all but the key itself."""
    return [tuple(row) for row in clickhouse.query(KEPT, {"key": str(key)}).rows]


def rewritten(picks):
    """Erase more people, and write every snapshot anew; return each one's figures, its rows and who is new beside it."""
    found = clickhouse.query("SELECT DISTINCT hem_hash FROM intent_signals ORDER BY hem_hash LIMIT 400").rows
    erasures.leave_out([row[0] for row in found])
    return [_rewritten(key, counted[1]) for counted, key in picks]


def _rewritten(key: UUID, results: int):
    anew = erasures.Rewrite(uuid4(), key, datetime.now(UTC).date())
    figures = erasures.write(anew)
    pair = (key, anew.written_on, results), (anew.new_key, anew.written_on, figures.rows)
    new = list(changes.pages(*pair, limit=figures.gone, page_rows=50, query_id=str(uuid4())))
    return figures, changes.count(*pair, query_id=str(uuid4())), new, frozen(anew.new_key)


def answers(few):
    """Ask everything both ways; return also the sizes an index goes by, and the picked snapshots."""
    loaded()
    assert loads.make_ready(DAY) == loads.versions(DAY)
    picks = picked(few)
    told = [direct(config) for config in CONFIGS], [(counted, frozen(key)) for counted, key in picks], rewritten(picks)
    return *told, serving.sizes(DAY), picks


@pytest.mark.parametrize("few", [True, False])
def test_two_shards_answer_as_one_server_does(shards, few):
    """Counts and snapshots of both strategies are the same, ranks over all shards; each shard works on its own."""
    clients, go = shards
    *expected, sizes, _ = answers(few)

    go()
    *found, most, picks = answers(few)

    found_direct, found_picked, rewrites = found
    assert expected == found
    assert any(figures.gone for figures, *_ in rewrites)
    assert [(counted, rows) for counted, _, rows in found_direct] == found_picked
    assert all(rows for _, rows in found_picked[:-1])
    assert all(whole / 2 < largest < whole for largest, whole in zip(most, sizes, strict=True))
    _each_has_its_own(clients, picks)


def _each_has_its_own(clients, picks):
    """Every row stands on its person's shard, every snapshot on one, and each shard has made its own of both."""
    for number, client in enumerate(clients):
        for table in ("people_shard", "intent_signals_shard", "serving_index_shard"):
            [(rows, strange)] = client.query(
                f"SELECT count(), countIf(hem_hash % 2 != {number}) FROM {table}"
            ).result_rows
            assert rows > 0
            assert 0 == strange
        assert len(CONFIGS) == client.command("SELECT count() FROM selections_shard")
        assert 0 == client.command(
            f"SELECT countIf(person.1 % 2 != {number}) FROM selections_shard ARRAY JOIN people AS person"
        )
    looked = clickhouse.query(ddl.parts_by_shard(serving.PARTITIONS, CLUSTER), {"known": [71], "seconds": 0}).rows
    assert {("serving_index", 72), ("serving_texts", 72)} == {tuple(row) for row in looked}
    keys = [
        {row[0] for row in client.query("SELECT DISTINCT snapshot_key FROM audience_results_shard").result_rows}
        for client in clients
    ]
    assert not keys[0] & keys[1]
    assert {key for (_, results), key in picks if results} <= keys[0] | keys[1]
