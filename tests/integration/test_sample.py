"""The sample data and the sample audiences of the demo."""

from datetime import timedelta

import pytest

from local import sample
from local.sample import Sizes
from worker import audience, filters, loads, person

SIZES = Sizes(people=5_000, signals=30_001, topics=300, days=2)


@pytest.fixture
def made(stores):
    """Made sample data, and what was told on the way."""
    told = []
    sample.build(SIZES, lambda *said: told.append(said))
    return told


def value(clickhouse, sql: str):
    """The one value that a statement answers with."""
    return clickhouse.query(sql).first_row[0]


def test_there_is_exactly_as_much_as_was_asked_for(clickhouse, made):
    """Every size is met, and the last thing told of each is that all of it is there."""
    newest = sample.dates(SIZES)[-1]
    days = clickhouse.query("SELECT data_date, count() FROM intent_signals GROUP BY 1 ORDER BY 1").result_rows
    told = {what: (done, total) for what, done, total in made}

    assert [(newest - timedelta(days=1), 15_001), (newest, 15_000)] == [tuple(row) for row in days]
    assert 5_000 == value(clickhouse, "SELECT uniqExact(hem_hash) FROM people")
    assert 300 == value(clickhouse, "SELECT uniqExact(topic_id) FROM topics")
    assert [(rows, rows) for rows in (300, 5_000, 15_001, 15_000)] == list(told.values())


def test_every_day_is_ready_and_the_last_one_is_yesterday(clickhouse, made):
    """The watch tick finds the days as if somebody had loaded them."""
    yesterday = value(clickhouse, "SELECT toDate(now('UTC')) - 1")

    assert [yesterday - timedelta(days=1), yesterday] == sample.dates(SIZES)
    assert ["ready", "ready"] == [day.state for day in loads.status().days]


def test_a_person_is_known_by_the_hash_of_an_address_that_nobody_has(clickhouse, made):
    """Addresses lie in example.com, and the hashes follow the source contract."""
    assert 0 == value(
        clickhouse,
        "SELECT countIf(hem_hash != cityHash64(hashed_email) OR NOT match(hashed_email, '^[0-9a-f]{64}$')"
        " OR (personal_email IS NOT NULL AND hashed_email != lower(hex(SHA256(personal_email)))))  FROM people",
    )
    assert 0 == value(
        clickhouse,
        r"SELECT countIf(NOT match(address, '@([a-z]+\\.)?example\\.com$')) FROM"
        " (SELECT arrayJoin(arrayFilter(a -> a IS NOT NULL, [business_email, personal_email, email])) AS address"
        " FROM people)",
    )


def test_some_fields_are_unknown_and_none_of_them_always(clickhouse, made):
    """Every field but the hash and the name is null for some people and known for others."""
    always = ("hashed_email", "first_name", "last_name", "full_name", "source_provider")
    columns = [column for column in person.COLUMNS if column not in always]
    shares = clickhouse.query(f"SELECT {', '.join(f'avg({it} IS NULL)' for it in columns)} FROM people").first_row

    assert [] == [(it, share) for it, share in zip(columns, shares, strict=True) if not 0 < share < 0.95]


def test_few_topics_get_most_signals_and_some_senders_are_unknown(clickhouse, made):
    """The tenth of the topics that is most popular gets a third of the signals or more."""
    popular = "SELECT sum(c) FROM (SELECT count() AS c FROM intent_signals GROUP BY topic_id ORDER BY c DESC LIMIT 30)"
    strangers = "SELECT countIf(hem_hash NOT IN (SELECT hem_hash FROM people)) FROM intent_signals"

    assert value(clickhouse, popular) > 30_001 / 3
    assert 0 < value(clickhouse, strangers) < 30_001 / 10


def test_the_same_sizes_make_the_same_data(clickhouse, made):
    """A second build changes nothing but the versions."""
    contents = (
        "SELECT (SELECT groupBitXor(cityHash64(* EXCEPT source_last_seen_on)) FROM people),"
        " (SELECT groupBitXor(cityHash64(*)) FROM topics), (SELECT sum(cityHash64(*)) FROM intent_signals)"
    )
    before = clickhouse.query(contents).first_row
    sample.build(SIZES, lambda *_: None)

    assert before == clickhouse.query(contents).first_row


def test_data_that_stands_is_recognised_and_other_data_is_not(clickhouse, made):
    """Other sizes, another seed, or rows that somebody changed make a new build necessary."""
    others = [Sizes(people=5_001, signals=30_001, topics=300), Sizes(people=5_000, signals=30_001, topics=300, seed=2)]
    stood = sample.stands(SIZES), [sample.stands(sizes) for sizes in others]
    clickhouse.command("INSERT INTO topics (topic_id, name) VALUES (1, 'one of my own')")

    assert (True, [False, False]) == stood
    assert not sample.stands(SIZES)


def test_a_sample_may_grow_by_people_who_sent_nothing(clickhouse, made):
    """Known senders stay as many as they were, and whoever was nobody stays so."""
    senders = "SELECT countIf(hem_hash IN (SELECT hem_hash FROM people)) FROM intent_signals"
    before = value(clickhouse, senders), loads.status().people_version
    sample.grow(SIZES, 1_000, lambda *_: None, first=SIZES.strangers)

    assert (before[0], before[1] + 1) == (value(clickhouse, senders), loads.status().people_version)
    assert 6_000 == value(clickhouse, "SELECT uniqExact(hem_hash) FROM people")


def test_every_filter_of_the_catalog_is_asked_for_by_a_sample_audience():
    """The 25 audiences are valid, and leave no filter out."""
    configs = [audience.parse(definition.config) for definition in sample.definitions(SIZES)]

    assert set(filters.CATALOG) == {key for config in configs for key in config.filters}
    assert 25 == len({config.hash for config in configs})


@pytest.mark.parametrize(("audiences", "organizations"), [(25, 5), (60, 7), (3, 1)])
def test_audiences_are_shared_out_among_organizations(audiences, organizations):
    """As many as asked for, with names, zones, readers and no two alike."""
    made = sample.definitions(SIZES, audiences=audiences, organizations=organizations)

    assert audiences == len({(definition.organization_id, definition.name) for definition in made})
    assert min(audiences, organizations) == len({definition.organization_id for definition in made})
    assert {1, 2} == {len(definition.recipients) for definition in made}
    assert all(reader.endswith("@example.com") for definition in made for reader in definition.recipients)
