"""The ClickHouse tables as the migrations make them."""

from worker import clickhouse, ddl, person


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
