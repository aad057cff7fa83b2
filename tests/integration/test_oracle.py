"""Counts, ranks, scores, overlaps and topics of generated configs over generated data equal the oracle's."""

import hashlib
import unicodedata
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
EMAILS = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(9)]
TOPICS = [
    (1, "Payroll", "b2b", "Human Resources", "Business"),
    (2, "Straße", None, None, None),
    (3, None, "b2c", "Retail", ""),
    (4, "'; DROP TABLE topics; --", "b2b", "Retail", "Business"),
]
COLUMNS = sorted({*oracle.COLUMNS.values()})
TOPIC_COLUMNS = ("topic_id", "name", "type", "industry", "category")

KNOWN = st.text(st.characters(exclude_categories=("Cs", "Cn")), max_size=3)
FAMILIES = (
    ("CFO", " cfo\t", "\uff23\uff26\uff2f", "cf", ""),
    ("Chief Financial Officer", "chief", "ﬁnance chief", "FINANCE", " "),
    ("Straße", "STRASSE", "ß", "ss", "\u3000"),
    ("İstanbul", "i̇stanbul", "istanbul", "\u00a0\t\n"),
    ("ΣΑΣ", "σας", "caf\u00e9", "cafe\u0301", "\x1f"),
    ("VP\u00a0Sales", "vp sales", "\u3000VP Sales\u2003", "sales", "vp"),
    ("\\N", "NULL", "%", "_", "a'b\\", "a"),
)
FLAGS = st.none() | st.booleans()
HEADCOUNTS = st.none() | st.sampled_from([0, 1, 49, 50, 500, 501, 2**32 - 1])
RANGES = st.sampled_from([{}, {"min": 50}, {"max": 500}, {"min": 50, "max": 500}, {"min": None, "max": 0}])
NAMES = [*oracle.TEXT_TERMS, "jobTitle.exclude", "jobTitle.include", *oracle.NUMBER_RANGE] * 3 + sorted(oracle.COLUMNS)
PRESENCES = ("business_email", "personal_email", "phone", "linkedin_url")


def values_of(column, words):
    """What one column of a person may hold."""
    if column == "company_employee_count":
        return HEADCOUNTS
    if column in oracle.BOOLEAN.values() and column not in PRESENCES:
        return FLAGS
    return st.none() | st.sampled_from(words)


def payloads(name, words):
    """Payloads of one filter, as a customer may write them."""
    if name in oracle.BOOLEAN:
        return st.booleans()
    if name in oracle.NUMBER_RANGE:
        return RANGES
    writable = [word for word in words if not any(unicodedata.category(it) == "Cc" for it in word)]
    values = st.lists(st.sampled_from(writable), min_size=1, max_size=3) if writable else st.just([])
    if name in oracle.MULTI_SELECT:
        return st.fixed_dictionaries({"values": values})
    operators = ["equals"] if name == "jobTitle.exact" else ["contains", "equals"]
    optional = {"operator": st.sampled_from(operators), "mode": st.sampled_from(["any", "all"])}
    return st.fixed_dictionaries({"values": values}, optional=optional)


@st.composite
def configs(draw, words):
    """Configs with up to two filters, which often leave somebody."""
    topic_ids = draw(st.lists(st.integers(1, 5), min_size=1, max_size=6))
    names = draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=2))
    config = {"topicIds": topic_ids, "filters": {name: draw(payloads(name, words)) for name in names}}
    config |= draw(st.sampled_from([{}, {"minScore": None}, {"minScore": 0}, {"minScore": 60}, {"minScore": 70}]))
    config |= draw(st.sampled_from([{}, {"maxScore": 99}, {"maxScore": 80}, {"maxScore": 70}]))
    if draw(st.booleans()):
        config["minTopicOverlap"] = draw(st.integers(1, min(3, len(set(topic_ids)))))
    return config


@st.composite
def cases(draw):
    """A few configs, and people who differ in what those read; both speak the same few words."""
    words = [*draw(st.sampled_from(FAMILIES)), *draw(st.sampled_from(FAMILIES)), *draw(st.lists(KNOWN, max_size=2))]
    wanted = draw(st.lists(configs(words), min_size=3, max_size=4))
    read = {oracle.COLUMNS[name] for config in wanted for name in config["filters"]}
    row = {column: values_of(column, words) if column in read else st.none() for column in COLUMNS}
    emails = draw(st.lists(st.sampled_from(EMAILS[:8]), unique=True, min_size=4))
    return wanted, [{"hashed_email": email, **draw(st.fixed_dictionaries(row))} for email in emails]


SIGNALS = st.lists(
    st.tuples(
        st.sampled_from([DAY, DAY, DAY, OTHER_DAY]),
        st.integers(1, 5),
        st.sampled_from(EMAILS),
        st.sampled_from([49, 50, 59, 60, 70, 71, 80, 81, 99]),
    ),
    min_size=15,
    max_size=50,
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
        columns = ["hem_hash", "hashed_email", *COLUMNS]
        rows = [[hem_hash[row["hashed_email"]], row["hashed_email"], *(row[it] for it in COLUMNS)] for row in people]
        if rows:
            clickhouse.insert("people", rows, column_names=columns)
        rows = [[day, topic_id, hem_hash[email], score] for day, topic_id, email, score in signals]
        if rows:
            clickhouse.insert("intent_signals", rows, column_names=["data_date", "topic_id", "hem_hash", "score"])

    return replace


def frames(people, signals):
    """The same rows as the oracle reads them."""
    kinds = {"company_employee_count": pl.UInt32, **dict.fromkeys(oracle.BOOLEAN.values(), pl.Boolean)}
    kinds |= dict.fromkeys(PRESENCES, pl.String)
    schema = {"hashed_email": pl.String, **{column: kinds.get(column, pl.String) for column in COLUMNS}}
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
    max_examples=35,
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


def test_a_limited_run_stores_the_first_ranks_only(store):
    """A row limit cuts what is stored at that rank, while the counts stay whole."""
    people = [{"hashed_email": email, **dict.fromkeys(COLUMNS)} for email in EMAILS]
    signals = [(DAY, 1, email, 70 + number % 3) for number, email in enumerate(EMAILS)]
    store(people, signals)
    topics = pl.DataFrame(TOPICS, schema=list(TOPIC_COLUMNS), orient="row")
    candidates, rows = oracle.run({"topicIds": [1]}, DAY, *frames(people, signals), topics)

    counted, verified, written = materialized({"topicIds": [1]}, row_limit=5)

    assert ((candidates, len(rows)), (5, 1, 5, 5), rows[:5]) == (counted, verified, written)


def test_both_sides_fold_every_known_character_alike(clickhouse):
    """ClickHouse and Python trim, compose and fold every assigned code point to the same text."""
    known = [chr(point) for point in range(1, 0x110000) if unicodedata.category(chr(point)) not in ("Cn", "Cs", "Co")]
    clickhouse.command("CREATE TABLE characters (character String) ENGINE = Memory")
    clickhouse.insert("characters", [[character] for character in known], column_names=["character"])
    folding = plan.load().who.template.split("candidates AS")[0].partition("\n")[2].strip().removesuffix(",")

    folded = clickhouse.query(f"WITH {folding} SELECT character, fold(character) FROM characters").result_rows

    assert [] == [(character, found) for character, found in folded if found != oracle.fold(character)]
