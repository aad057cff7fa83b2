"""The ClickHouse tables as the migrations make them."""

import pytest

from worker import clickhouse, ddl, errors, migrate, person, serving, settings

PATH = "ReplicatedMergeTree('/clickhouse/tables/{uuid}/{shard}', '{replica}')"


def test_both_tables_hold_the_public_person_fields(stores):
    """The columns that the migrations made are those of the one list, types and order included."""
    fields = [(field.column, field.type) for field in person.FIELDS]
    for table in ("people", "audience_results"):
        answer = clickhouse.query(
            "SELECT name, type FROM system.columns WHERE database = currentDatabase() AND table = {table:String}"
            " ORDER BY position",
            {"table": table},
        )

        assert fields == [tuple(row) for row in answer.rows][-len(fields) :]


def test_statements_may_be_applied_again(stores):
    """A second migration changes nothing but the retention that was asked for."""
    for _, sql in ddl.statements(None, replicated=False, retention_days=45):
        clickhouse.command(sql)

    (row,) = clickhouse.query(
        "SELECT create_table_query FROM system.tables WHERE database = currentDatabase() AND name = 'audience_results'"
    ).rows
    assert "toIntervalDay(45)" in row[0]


def test_expired_snapshots_leave_by_whole_parts(stores):
    """Rows written longer ago than the retention are gone once their part is merged, and younger ones stay."""
    clickhouse.command(
        "INSERT INTO audience_results (snapshot_key, written_on, rank)"
        " SELECT generateUUIDv4(), today() - number * 100, 1 FROM numbers(2)"
    )
    clickhouse.command("OPTIMIZE TABLE audience_results FINAL")

    answer = clickhouse.query("SELECT today() - written_on FROM audience_results")

    assert [(0,)] == [tuple(row) for row in answer.rows]


def parsed(sql):
    """Let ClickHouse parse a statement, and return it as ClickHouse spells it."""
    return clickhouse.query("SELECT formatQuery({sql:String})", {"sql": sql}).rows[0][0]


@pytest.mark.parametrize("sharded", [False, True])
def test_the_replicated_form_is_the_plain_one_on_a_cluster(stores, sharded):
    """ClickHouse reads both, and they differ in their engine, the cluster and the name of a shard's part alone."""
    plain = ddl.statements(None, replicated=False, retention_days=90)
    replicated = ddl.statements("c", replicated=True, retention_days=90, sharded=sharded)
    own = "_shard" if sharded else ""

    for (name, one), (same, other) in zip(plain, replicated, strict=not sharded):
        spelled = parsed(other)
        assert (name, spelled.count(f"{own} ON CLUSTER c")) == (same, 1)
        assert parsed(one) == spelled.replace(f"{own} ON CLUSTER c", "").replace(PATH, "MergeTree")
    over = [parsed(sql) for _, sql in replicated[len(plain) :]]
    assert (len(ddl.SHARDED_BY) if sharded else 0) == len(over)
    assert all("ENGINE = Distributed(c, currentDatabase(), " in sql for sql in over)


def test_what_is_asked_of_every_server_can_be_read(stores):
    """Dropping old pieces and forgetting erased people name each shard's own table on all servers of the cluster."""
    forget = ddl.alter_by_shard("ALTER TABLE people DELETE IN PARTITION 7 WHERE hem_hash = 1", "c")

    assert "ALTER TABLE people_shard ON CLUSTER c\n    (DELETE" in parsed(forget)
    assert "FROM clusterAllReplicas(c, system.parts)" in parsed(ddl.parts_by_shard(serving.PARTITIONS, "c"))


def test_tables_of_one_server_are_not_spread(stores, monkeypatch):
    """Shards are refused where tables hold everything already, and no table of a shard is made."""
    monkeypatch.setenv("CLICKHOUSE_CLUSTER", "c")
    monkeypatch.setenv("CLICKHOUSE_SHARDED", "true")
    settings.current.cache_clear()

    with pytest.raises(errors.Refusal, match="Not of shards, though CLICKHOUSE_SHARDED is set: audience_results, "):
        migrate.migrate()
    found = clickhouse.query("SELECT count() FROM system.tables WHERE database = currentDatabase()").rows[0][0]
    assert len(ddl.SHARDED_BY) == found
