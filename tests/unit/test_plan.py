"""Config and data date to statements: every value bound, every fragment fixed, limits as given."""

import re
from datetime import date
from uuid import UUID

import pytest

from worker import audience, ddl, person, plan
from worker.filters import CATALOG, Kind

PAYLOADS = {
    Kind.BOOLEAN: True,
    Kind.MULTI_SELECT: {"values": ["some value"]},
    Kind.TEXT_TERMS: {"values": ["some value"]},
    Kind.NUMBER_RANGE: {"min": 12, "max": 34},
}
EVERYTHING = {"topicIds": [7, 5], "filters": {key: PAYLOADS[entry.kind] for key, entry in CATALOG.items()}}
KEY = UUID("6f1d5a3e-9d55-4d43-8a3e-0a1b2c3d4e5f")


def planned(config, **changes):
    """Plan a config with this page's usual limits."""
    usual = {
        "queries": plan.load(),
        "snapshot_key": KEY,
        "written_on": date(2026, 11, 21),
        "max_execution_seconds": 120,
        "max_memory_bytes": 4_000_000_000,
    }
    return plan.build(audience.parse(config), date(2026, 11, 20), **usual | changes)


def statements(found):
    """The three statements of a plan."""
    return (found.count, found.write, found.verify)


def test_places_and_parameters_match():
    """Every place of a statement is bound, and nothing is bound that has no place."""
    for statement in statements(planned(EVERYTHING)):
        places = set(re.findall(r"\{(\w+):", statement.sql))

        assert places <= set(statement.parameters)
        assert set(statement.parameters) - places <= {"row_limit"}


def test_no_value_becomes_sql():
    """Two configs that differ in values alone have the same statements."""
    other = {
        "topicIds": [1],
        "minScore": 51,
        "filters": {
            key: {**payload, **({"values": ["'); DROP TABLE people; --"]} if "values" in payload else {"min": 1})}
            if isinstance(payload, dict)
            else payload
            for key, payload in EVERYTHING["filters"].items()
        },
    }

    assert [it.sql for it in statements(planned(EVERYTHING))] == [it.sql for it in statements(planned(other))]


def test_a_plan_is_a_pure_function_of_its_arguments():
    """The same arguments give the same plan."""
    assert planned(EVERYTHING) == planned(EVERYTHING)


def test_the_strategy_is_named():
    """The plan says how it goes about it."""
    assert planned(EVERYTHING).strategy == "serving_table_in"


def test_a_run_stores_everybody_unless_it_is_limited():
    """Without a limit every rank is written, with one only the first ranks; the count knows no limit."""
    whole, limited = planned(EVERYTHING), planned(EVERYTHING, row_limit=100)

    assert (2**64 - 1, 100) == (whole.write.parameters["row_limit"], limited.write.parameters["row_limit"])
    assert "row_limit" not in limited.count.parameters


def test_many_values_travel_in_several_parameters():
    """No parameter holds more values than a server takes in one field."""
    values = [f"value {number:03}" for number in range(250)]

    parameters = planned({"topicIds": [1], "filters": {"geo.cities": {"values": values}}}).count.parameters

    assert [100, 100, 50] == [len(parameters[f"geo_cities_{number}"]) for number in range(3)]


def test_limits_are_settings_of_every_statement():
    """Time and memory are bounded by what was passed in."""
    limits = {
        (it.settings["max_execution_time"], it.settings["max_memory_usage"]) for it in statements(planned(EVERYTHING))
    }

    assert limits == {(120, 4_000_000_000)}


@pytest.mark.parametrize(
    ("threads", "usual", "lighter"), [(0, None, 2), (1, 1, 1), (8, 8, 2)], ids=["server's choice", "one", "many"]
)
def test_the_lighter_plan_spills_and_uses_few_threads(threads, usual, lighter):
    """After a memory limit the same statements run with fewer threads and spill to disk."""
    first = planned(EVERYTHING, max_threads=threads)
    second = planned(EVERYTHING, max_threads=threads, lighter=True)

    assert first.write.sql == second.write.sql
    assert (usual, lighter) == (first.write.settings.get("max_threads"), second.write.settings["max_threads"])
    assert second.write.settings["max_bytes_before_external_sort"] == 1_000_000_000


def test_the_fields_of_the_published_person_row_are_all_there():
    """The person row of the public documentation is a part of ours, in the same order."""
    published = [
        *("hashedEmail", "firstName", "lastName", "fullName", "businessEmail", "personalEmail", "email"),
        *("primaryContactEmail", "phone", "linkedinUrl", "headline", "jobTitle", "seniority", "department"),
        *("company.name", "company.domain", "company.industry", "company.industryGroup", "company.revenueRange"),
        *("geo.city", "geo.state", "geo.stateCode", "geo.country", "geo.countryCode"),
    ]
    names = [field.name for field in person.FIELDS]

    assert published == [name for name in names if name in published]


@pytest.mark.parametrize(("name", "column"), [("hashedEmail", "hashed_email"), ("geo.stateCode", "geo_state_code")])
def test_a_column_is_its_field_in_snake_case(name, column):
    """Dots and capitals become underscores."""
    field = next(field for field in person.FIELDS if field.name == name)

    assert column == field.column


def test_statements_are_numbered_and_plain_on_one_server():
    """Without a cluster the tables are plain MergeTree, and no place is left open."""
    found = ddl.statements(None, replicated=False, retention_days=90)
    tables = [match[1] for _, sql in found if (match := re.search(r"CREATE TABLE IF NOT EXISTS (\w+)\n", sql))]

    ours = ["audience_results", "erased_people", "serving_index", "serving_texts", "selections"]
    assert tables == ["intent_signals", "people", "topics", "data_loads", *ours]
    assert [name for name, _ in found] == sorted(name for name, _ in found)
    assert not any("$" in sql or "Replicated" in sql or sql.endswith(";") for _, sql in found)


def test_statements_reach_a_cluster_with_replicated_engines():
    """On a cluster every statement says so, and every engine is replicated under the server's own macros."""
    found = ddl.statements("my`cluster", replicated=True, retention_days=30)
    path = "ReplicatedMergeTree('/clickhouse/tables/{uuid}/{shard}', '{replica}')"

    assert all(r"ON CLUSTER `my\`cluster`" in sql for _, sql in found)
    assert all(f"ENGINE = {path}" in sql for _, sql in found if "CREATE TABLE" in sql)
    assert sum("toIntervalDay(30)" in sql for _, sql in found) == 2
