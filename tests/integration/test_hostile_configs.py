"""What a hostile customer writes comes back as data or as a refusal, never as SQL; the largest config runs."""

from datetime import date
from uuid import uuid4

import pytest

from worker import audience, plan, snapshots
from worker.errors import InvalidConfig
from worker.filters import CATALOG, Kind

DAY = date(2026, 11, 20)

HOSTILE = [
    "'",
    '"',
    "`",
    "\\",
    "\\'",
    "\\N",
    "\\0",
    "''); DROP TABLE people; --",
    "' OR 1=1 --",
    "/* comment */",
    "{x:String}",
    "{topic_ids:Array(UInt32)}",
    "{{x}}",
    "$filters",
    "${who}",
    "%s",
    "%(name)s",
    "%",
    "_",
    "?",
    ":name",
    "NULL",
    "[]",
    "['a', 'b']",
    "😀",
    "👩‍👩‍👧‍👦",
    "\u202etxt.exe",
    "İ",
    "ß",
    "&param_x=1",
    "a\u2028b",
    "x" * 200,
    "😀" * 200,
]
TEXT_KEYS = ["jobTitle.include", "jobTitle.exact", "company.names", "role.seniority", "geo.cities"]


def planned(config, key):
    """Plan a config under a snapshot key."""
    return plan.build(
        audience.parse(config),
        DAY,
        queries=plan.load(),
        snapshot_key=key,
        written_on=DAY,
        max_execution_seconds=60,
        max_memory_bytes=1_500_000_000,
        max_threads=2,
    )


def ran(config):
    """Count, write and verify a config as a run does; return candidates and results."""
    found = planned(config, key := uuid4())
    counted = snapshots.count(found, f"{key}-count")
    snapshots.write(found, f"{key}-write")
    snapshots.verify(found, counted.results, f"{key}-verify")
    return (counted.candidates, counted.results)


@pytest.fixture
def holders(clickhouse):
    """A function that fills the store with one person a text, who holds it in every text column that filters read."""
    columns = sorted({CATALOG[key].column for key in TEXT_KEYS})

    def hold(texts):
        rows = [[number, f"{number:064x}", *(text for _ in columns)] for number, text in enumerate(texts)]
        clickhouse.insert("people", rows, column_names=["hem_hash", "hashed_email", *columns])
        clickhouse.command(
            "INSERT INTO intent_signals SELECT {day:Date}, 1, hem_hash, 90 FROM people", parameters={"day": DAY}
        )

    return hold


def test_hostile_values_are_data(holders):
    """A hostile value finds the person who holds it and nobody else, under every text filter at once."""
    holders(HOSTILE)
    operators = {"company.names": "equals", "jobTitle.exact": "equals", "jobTitle.include": "contains"}

    for text in HOSTILE:
        filters = {
            key: {"values": [text], **({"operator": operators[key]} if key in operators else {})} for key in TEXT_KEYS
        }

        assert (len(HOSTILE), 1) == ran({"topicIds": [1], "filters": filters}), text


@pytest.mark.parametrize("text", ["\0", "a\0b", "\x1b[31m", "a\nb", "\x7f", "\x85", "x" * 201, "x" * 10_000, "\ud800"])
@pytest.mark.parametrize("key", ["jobTitle.include", "role.seniority"])
def test_what_no_text_should_hold_is_refused(key, text):
    """Control characters, over-long values and halves of characters are refused, and not repeated in the refusal."""
    with pytest.raises(InvalidConfig) as refused:
        audience.parse({"topicIds": [1], "filters": {key: {"values": [text]}}})

    assert text not in str(refused.value)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("key", ["people; --", "role.seniority; DROP TABLE people", "{x:String}", "\0", "x" * 10_000])
def test_a_hostile_filter_key_is_refused(key):
    """A key is looked up, never written into a statement."""
    with pytest.raises(InvalidConfig, match="is not a known filter") as refused:
        audience.parse({"topicIds": [1], "filters": {key: True}})

    assert len(str(refused.value)) < 120


def largest(fill):
    """Every filter at once, 250 topics, and values up to the last one that still fits the limit."""
    plain = {
        Kind.BOOLEAN: False,
        Kind.NUMBER_RANGE: {"min": 0, "max": 2**53 - 1},
        Kind.MULTI_SELECT: {"values": ["x"]},
        Kind.TEXT_TERMS: {"values": ["x"], "mode": "all", "operator": "equals"},
    }
    keys = {key: plain[entry.kind] for key, entry in CATALOG.items()}
    config = {"topicIds": list(range(2**32 - 250, 2**32)), "minTopicOverlap": 250, "filters": keys}
    room = audience.MOST_BYTES - len(audience.parse(config).canonical.encode())
    text_keys = [key for key, entry in CATALOG.items() if entry.kind in (Kind.MULTI_SELECT, Kind.TEXT_TERMS)]
    for key in text_keys:
        mode = {"mode": "any", "operator": "equals"} if CATALOG[key].kind is Kind.TEXT_TERMS else {}
        keys[key] = {"values": fill(room // len(text_keys)), **mode}
    left = audience.MOST_BYTES - len(audience.parse(config).canonical.encode())
    sizes = [200] * (left // 203) + [left % 203 - 3] * (left % 203 > 6)
    keys["geo.cities"]["values"] += [f"{number:03}".ljust(size, "z")[:size] for number, size in enumerate(sizes, 900)]
    return config


def short(room):
    """As many values as fit, each short."""
    return [f"{number:03x}" for number in range(min(350, room // 8))]


def quotes(room):
    """As many quotes as fit: each grows on its way to the server."""
    return [f"{number:03}" + "'" * 197 for number in range(room // 203)]


@pytest.mark.parametrize("fill", [short, quotes])
def test_the_largest_config_runs(stores, fill):
    """250 topics and every filter, filled to 64 KiB of canonical JSON, are counted, written and verified."""
    config = largest(fill)

    assert len(audience.parse(config).canonical.encode()) > audience.MOST_BYTES - 8
    assert ran(config) == (0, 0)


@pytest.mark.parametrize("mode", ["any", "all"])
@pytest.mark.parametrize("operator", ["contains", "equals"])
def test_one_filter_may_hold_the_most_values(holders, mode, operator):
    """500 terms of quotes and emoji in one filter run in every mode."""
    holders(["'499😀", "'500😀"])
    terms = [f"'{number}😀" for number in range(500)]
    config = {"topicIds": [1], "filters": {"jobTitle.include": {"values": terms, "mode": mode, "operator": operator}}}

    assert ran(config) == (2, 1 if mode == "any" else 0)


def test_text_that_is_no_utf8_does_not_fail_a_run(holders, clickhouse):
    """Broken bytes in somebody's title are looked past, not an error of the run."""
    holders(["director"])
    clickhouse.command("ALTER TABLE people UPDATE job_title = unhex('FF20434649') WHERE 1 SETTINGS mutations_sync = 1")

    assert ran({"topicIds": [1], "filters": {"jobTitle.include": {"values": ["cfi"]}}}) == (1, 1)
