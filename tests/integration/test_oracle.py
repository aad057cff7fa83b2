"""Counts, ranks, scores, overlaps and topics of generated configs over generated data equal the oracle's."""

import hashlib
from datetime import date
from uuid import uuid4

import oracle
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from worker import audience, clickhouse, plan

DAY = date(2026, 11, 20)
OTHER_DAY = date(2026, 11, 19)
EMAILS = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(14)]
TOPICS = [
    (1, "Payroll", "b2b", "Human Resources", "Business"),
    (2, "Straße", None, None, None),
    (3, None, "b2c", "Retail", ""),
    (4, "'; DROP TABLE topics; --", "b2b", "Retail", "Business"),
]
TOPIC_COLUMNS = ("topic_id", "name", "type", "industry", "category")

KNOWN = st.characters(exclude_categories=("Cs", "Cn"))
TEXTS = st.sampled_from(
    [
        *("CFO", " cfo\t", "Chief Financial Officer", "chief", "ﬁnance chief", "finance", "Straße", "STRASSE", "ß"),
        *(
            "İstanbul",
            "i̇stanbul",
            "istanbul",
            "VP\u00a0Sales",
            "vp sales",
            "\u3000VP Sales\u2003",
            "\uff23\uff26\uff2f",
        ),
        *("", " ", "\u3000", "\u00a0\t\n", "\\N", "NULL", "%", "_", "caf\u00e9", "cafe\u0301", "ΣΑΣ", "σας", "a'b\\"),
    ]
)
VALUES = st.none() | TEXTS | st.text(KNOWN, max_size=3)
TERMS = (TEXTS | st.text(KNOWN, min_size=1, max_size=2)).filter(
    lambda text: not any(ord(character) < 32 or 127 <= ord(character) < 160 for character in text)
)
FLAGS = st.none() | st.booleans()
HEADCOUNTS = st.none() | st.sampled_from([0, 1, 49, 50, 500, 501, 2**32 - 1])
VALUES_OF = {
    **dict.fromkeys((*oracle.MULTI_SELECT.values(), *oracle.TEXT_TERMS.values()), VALUES),
    **dict.fromkeys(oracle.BOOLEAN.values(), FLAGS),
    **dict.fromkeys(("business_email", "personal_email", "phone", "linkedin_url"), VALUES),
    "company_employee_count": HEADCOUNTS,
}


def payloads(name):
    """Payloads of one filter, as a customer may write them."""
    values = st.lists(TERMS, max_size=3)
    if name in oracle.BOOLEAN:
        return st.booleans()
    if name in oracle.NUMBER_RANGE:
        return st.sampled_from([{}, {"min": 50}, {"max": 500}, {"min": 50, "max": 500}, {"min": None, "max": 0}])
    if name in oracle.MULTI_SELECT:
        return st.fixed_dictionaries({"values": values})
    operators = ["equals"] if name == "jobTitle.exact" else ["contains", "equals"]
    optional = {"operator": st.sampled_from(operators), "mode": st.sampled_from(["any", "all"])}
    return st.fixed_dictionaries({"values": values}, optional=optional)


@st.composite
def configs(draw):
    """Configs with up to three filters, which still leave somebody now and then."""
    topic_ids = draw(st.lists(st.integers(1, 6), min_size=1, max_size=8))
    names = draw(st.lists(st.sampled_from(sorted(oracle.COLUMNS)), unique=True, max_size=3))
    config = {"topicIds": topic_ids, "filters": {name: draw(payloads(name)) for name in names}}
    config |= draw(st.sampled_from([{}, {"minScore": None}, {"minScore": 0}, {"minScore": 60}, {"minScore": 70}]))
    config |= draw(st.sampled_from([{}, {"maxScore": 99}, {"maxScore": 80}, {"maxScore": 70}]))
    if draw(st.booleans()):
        config["minTopicOverlap"] = draw(st.integers(1, min(3, len(set(topic_ids)))))
    return config


@st.composite
def cases(draw):
    """A few configs, and people who differ in what those read."""
    wanted = draw(st.lists(configs(), min_size=1, max_size=3))
    read = {oracle.COLUMNS[name] for config in wanted for name in config["filters"]}
    row = {column: VALUES_OF[column] if column in read else st.none() for column in VALUES_OF}
    emails = draw(st.lists(st.sampled_from(EMAILS[:12]), unique=True, max_size=12))
    return wanted, [{"hashed_email": email, **draw(st.fixed_dictionaries(row))} for email in emails]


SIGNALS = st.lists(
    st.tuples(
        st.sampled_from([DAY, DAY, DAY, OTHER_DAY]),
        st.integers(1, 6),
        st.sampled_from(EMAILS),
        st.sampled_from([0, 49, 50, 59, 60, 69, 70, 71, 80, 81, 99]),
    ),
    max_size=60,
).map(lambda rows: [*rows, *rows[::3]])


@pytest.fixture
def store(clickhouse):
    """A ClickHouse with the topics, and with a function that replaces people and signals."""
    clickhouse.insert("topics", TOPICS, column_names=list(TOPIC_COLUMNS))
    hashes = clickhouse.query(
        "SELECT email, cityHash64(email) FROM (SELECT arrayJoin({emails:Array(String)}) AS email)",
        parameters={"emails": EMAILS},
    ).result_rows
    hem_hash = dict(hashes)

    def replace(people, signals):
        for table in ("people", "intent_signals"):
            clickhouse.command(f"TRUNCATE TABLE {table}")
        columns = ["hem_hash", "hashed_email", *VALUES_OF]
        rows = [[hem_hash[row["hashed_email"]], row["hashed_email"], *(row[it] for it in VALUES_OF)] for row in people]
        if rows:
            clickhouse.insert("people", rows, column_names=columns)
        rows = [[day, topic_id, hem_hash[email], score] for day, topic_id, email, score in signals]
        if rows:
            clickhouse.insert("intent_signals", rows, column_names=["data_date", "topic_id", "hem_hash", "score"])

    return replace


def frames(people, signals):
    """The same rows as the oracle reads them."""
    kinds = {"company_employee_count": pl.UInt32, **dict.fromkeys(oracle.BOOLEAN.values(), pl.Boolean)}
    kinds |= dict.fromkeys(("business_email", "personal_email", "phone", "linkedin_url"), pl.String)
    schema = {"hashed_email": pl.String, **{column: kinds.get(column, pl.String) for column in VALUES_OF}}
    columns = {"data_date": pl.Date, "topic_id": pl.UInt32, "hashed_email": pl.String, "score": pl.UInt8}
    return pl.DataFrame(people, schema=schema), pl.DataFrame(signals, schema=columns, orient="row")


def materialized(config, *, lighter=False, row_limit=None):
    """Count, write and verify one config; return what was counted, what was verified and what was written."""
    planned = plan.build(
        audience.parse(config),
        DAY,
        queries=plan.load(),
        snapshot_key=uuid4(),
        written_on=DAY,
        max_execution_seconds=60,
        max_memory_bytes=1_000_000_000,
        max_threads=1,
        lighter=lighter,
        row_limit=row_limit,
    )
    (counted,) = send(clickhouse.query, planned.count).rows
    send(clickhouse.command, planned.write)
    (verified,) = send(clickhouse.query, planned.verify).rows
    answer = clickhouse.query(
        "SELECT rank, hashed_email, score, topic_overlap, matched_topics FROM audience_results"
        " WHERE snapshot_key = {snapshot_key:UUID} ORDER BY rank",
        {"snapshot_key": planned.verify.parameters["snapshot_key"]},
    )
    return tuple(counted), tuple(verified), [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]


def send(how, statement):
    """Send one statement of a plan the way the worker does."""
    return how(statement.sql, statement.parameters, options=statement.settings)


@settings(
    derandomize=True,
    max_examples=60,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(case=cases(), signals=SIGNALS, lighter=st.booleans())
def test_any_config_over_any_data_comes_out_as_the_oracle_says(store, case, signals, lighter):
    """Two implementations that share nothing agree on candidates, results, ranks, scores, overlaps and topics."""
    wanted, people = case
    store(people, signals)
    topics = pl.DataFrame(TOPICS, schema=list(TOPIC_COLUMNS), orient="row")

    for config in wanted:
        candidates, rows = oracle.run(config, DAY, *frames(people, signals), topics)
        counted, verified, written = materialized(config, lighter=lighter)

        assert (candidates, len(rows)) == counted
        assert ((len(rows), 1, len(rows), len(rows)) if rows else (0, 0, 0, 0)) == verified
        assert rows == written
