"""Counts, ranks, scores, overlaps and topics of generated configs over generated data equal the oracle's."""

import hashlib
import itertools
import random
import unicodedata
from datetime import UTC, date, datetime
from uuid import uuid4

import oracle
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from worker import audience, clickhouse, plan, selections, serving_plan

DAY = date(2026, 11, 20)
LIMITS = plan.limits(60, 1_000_000_000, 1, lighter=False)
PIECES = itertools.count(1)
OTHER_DAY = date(2026, 11, 19)
EMAILS = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(60)]
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
HEADCOUNTS = (0, 1, 49, 50, 51, 499, 500, 501, 2**32 - 1)
SCORES = (49, 50, 59, 60, 70, 71, 80, 81, 99)
RANGES = ({}, {"min": 50}, {"max": 500}, {"min": 50, "max": 500}, {"min": None, "max": 0})
NAMES = [*oracle.TEXT_TERMS, "jobTitle.exclude", "jobTitle.include", *oracle.NUMBER_RANGE] * 3 + sorted(oracle.COLUMNS)
PRESENCES = ("business_email", "personal_email", "phone", "linkedin_url")


def value_of(chance, column, words):
    """What one column of a person may hold."""
    if chance.random() < 0.15:
        return None
    if column == "company_employee_count":
        return chance.choice(HEADCOUNTS)
    if column in oracle.BOOLEAN.values() and column not in PRESENCES:
        return chance.random() < 0.5
    return chance.choice(words)


def payload_of(chance, name, words):
    """A payload of one filter, as a customer may write it."""
    if name in oracle.BOOLEAN:
        return chance.random() < 0.5
    if name in oracle.NUMBER_RANGE:
        return chance.choice(RANGES)
    payload = {"values": terms_of(chance, words)}
    if name in oracle.TEXT_TERMS:
        payload["mode"] = chance.choice(("any", "all"))
        payload["operator"] = "equals" if name == "jobTitle.exact" else chance.choice(("contains", "equals"))
    return {key: value for key, value in payload.items() if key == "values" or chance.random() < 0.8}


def terms_of(chance, words):
    """Up to three spellings of what somebody may hold, whole or in part, so that now and then all of them match."""
    word = chance.choice(words)
    middle = len(word) // 2
    spellings = [word, word.upper(), word.lower(), word[:middle], word[middle:], f" {word}", chance.choice(words)]
    writable = [it for it in spellings if not any(unicodedata.category(character) == "Cc" for character in it)]
    return chance.sample(writable, min(len(writable), chance.randint(0, 3)))


@st.composite
def configs(draw, chance, words):
    """Configs with up to two filters, which often leave somebody."""
    topic_ids = draw(st.lists(st.integers(1, 5), min_size=1, max_size=6))
    names = chance.sample(NAMES, chance.choice((0, 1, 1, 1, 2)))
    config = {"topicIds": topic_ids, "filters": {name: payload_of(chance, name, words) for name in names}}
    config |= draw(st.sampled_from([{}, {"minScore": None}, {"minScore": 0}, {"minScore": 60}, {"minScore": 70}]))
    config |= draw(st.sampled_from([{}, {"maxScore": 99}, {"maxScore": 80}, {"maxScore": 70}]))
    if draw(st.booleans()):
        config["minTopicOverlap"] = draw(st.integers(1, min(3, len(set(topic_ids)))))
    return config


@st.composite
def cases(draw):
    """A few configs, and a population that speaks the same words: some missing, some signalled twice."""
    chance = random.Random(draw(st.integers(0, 2**64)))
    families = chance.sample(FAMILIES, 2)
    words = [word for family in families for word in family] + draw(st.lists(KNOWN, max_size=3))
    wanted = draw(st.lists(configs(chance, words), min_size=4, max_size=6))
    people = [
        {"hashed_email": email, **{column: value_of(chance, column, words) for column in COLUMNS}}
        for email in EMAILS
        if chance.random() < 0.9
    ]
    signals = [
        (chance.choice((DAY, DAY, DAY, OTHER_DAY)), chance.randint(1, 5), email, chance.choice(SCORES))
        for email in EMAILS
        for _ in range(chance.randint(0, 5))
    ]
    return wanted, people, [*signals, *signals[::3]]


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
    """Count, write and verify one config; return what was counted, verified and written, and under which key."""
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
    rows = [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]
    return tuple(counted), tuple(verified), rows, planned.verify.parameters["snapshot_key"]


def picked(configs, *, row_limit=None):
    """Index the day in two pieces and pick all configs at once; return each one's counts and its two snapshots' keys."""
    pieces = next(PIECES), next(PIECES)
    for piece, bounds in zip(pieces, ((0, 2**63 - 1), (2**63, 2**64 - 1)), strict=True):
        for statement in serving_plan.piece(piece, DAY, bounds, LIMITS):
            send(clickhouse.command, statement)
    asked = [audience.parse(config) for config in configs]
    few, many = (_frozen_as(asked, pieces, row_limit, few=few) for few in (True, False))
    assert [counted for counted, _ in few] == [counted for counted, _ in many]
    return [(counted, (key, other)) for (counted, key), (_, other) in zip(few, many, strict=True)]


def _frozen_as(asked, pieces, row_limit, *, few):
    """Pick everybody and freeze them as few people or as many; return each one's counts and snapshot key."""
    keys = [uuid4() for _ in asked]
    planned = serving_plan.pick(
        asked,
        pieces,
        batch=uuid4(),
        snapshot_keys=keys,
        data_date=DAY,
        written_on=datetime.now(UTC).date(),
        settings=LIMITS,
        row_limit=row_limit,
    )
    assert selections.pick(planned, str(uuid4()))
    selections.freeze(planned, str(uuid4()), few=few)
    found = selections.frozen(planned, str(uuid4()))
    assert all(one.whole(min(one.counted.results, row_limit or one.counted.results)) for one in found)
    return [((one.counted.candidates, one.counted.results), key) for one, key in zip(found, keys, strict=True)]


def frozen(snapshot_key):
    """Read everything that stands under a snapshot key but the key and the day of writing."""
    sql = (
        "SELECT * EXCEPT (snapshot_key, written_on) FROM audience_results WHERE snapshot_key = {key:UUID} ORDER BY rank"
    )
    return clickhouse.query(sql, {"key": str(snapshot_key)}).rows


def send(how, statement):
    """Send one statement of a plan the way the worker does."""
    return how(statement.sql, statement.parameters, options=statement.settings)


@settings(
    derandomize=True,
    max_examples=25,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(case=cases(), lighter=st.booleans())
def test_any_config_over_any_data_comes_out_as_the_oracle_says(store, case, lighter):
    """Both strategies, the index frozen in both its ways, and an oracle that shares nothing with them agree on counts, ranks, scores, overlaps and topics."""
    wanted, people, signals = case
    store(people, signals)
    topics = pl.DataFrame(TOPICS, schema=list(TOPIC_COLUMNS), orient="row")

    for config, (tallied, keys) in zip(wanted, picked(wanted), strict=True):
        candidates, rows = oracle.run(config, DAY, *frames(people, signals), topics)
        counted, verified, written, direct_key = materialized(config, lighter=lighter)

        assert (candidates, len(rows)) == counted == tallied
        assert [frozen(direct_key)] * 2 == [frozen(key) for key in keys]
        assert ((len(rows), 1, len(rows), len(rows)) if rows else (0, 0, 0, 0)) == verified
        assert rows == written


def test_a_limited_run_stores_the_first_ranks_only(store):
    """A row limit cuts what is stored at that rank, while the counts stay whole."""
    people = [{"hashed_email": email, **dict.fromkeys(COLUMNS)} for email in EMAILS]
    signals = [(DAY, 1, email, 70 + number % 3) for number, email in enumerate(EMAILS)]
    store(people, signals)
    topics = pl.DataFrame(TOPICS, schema=list(TOPIC_COLUMNS), orient="row")
    candidates, rows = oracle.run({"topicIds": [1]}, DAY, *frames(people, signals), topics)

    counted, verified, written, direct_key = materialized({"topicIds": [1]}, row_limit=5)
    [(tallied, keys)] = picked([{"topicIds": [1]}], row_limit=5)

    assert ((candidates, len(rows)), (5, 1, 5, 5), rows[:5]) == (counted, verified, written)
    assert (counted, [frozen(direct_key)] * 2) == (tallied, [frozen(key) for key in keys])


def test_both_sides_fold_every_known_character_alike(clickhouse):
    """ClickHouse and Python trim, compose and fold every assigned code point to the same text."""
    known = [chr(point) for point in range(1, 0x110000) if unicodedata.category(chr(point)) not in ("Cn", "Cs", "Co")]
    clickhouse.command("CREATE TABLE characters (character String) ENGINE = Memory")
    clickhouse.insert("characters", [[character] for character in known], column_names=["character"])
    folding = plan.load().fold.template

    folded = clickhouse.query(f"WITH {folding} SELECT character, fold(character) FROM characters").result_rows

    assert [] == [(character, found) for character, found in folded if found != oracle.fold(character)]
