"""
What the files of each dataset must hold.

Files are staged as text, so that one page of rules serves Parquet and CSV alike: a rule is a ClickHouse expression
over the staged text, and so is the value that is stored.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from worker import person

UINT32: Final = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Rule:
    """
    What a column must hold.

    :param good: ClickHouse expression over the staged column; null counts as broken
    :param sentence: the rule as the end of a sentence, "must be …"
    """

    good: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Column:
    """
    One column of a file.

    :param value: ClickHouse expression over the staged column: what is stored
    :param required: whether every file must have it and every row must fill it
    """

    name: str
    value: str
    rules: tuple[Rule, ...]
    required: bool

    def broken(self) -> list[tuple[str, str]]:
        """Return (condition that a row breaks a rule, the rule's sentence), the first rule first."""
        empty = "0" if self.required else f"isNull({self.name})"
        return [(f"NOT ({empty} OR ifNull({rule.good}, 0))", rule.sentence) for rule in self.rules]


@dataclass(frozen=True, slots=True)
class Dataset:
    """
    One source table and the files it is filled from.

    :param key: the column that names one row; None where rows may repeat
    :param hashed: whether hem_hash is computed from hashed_email
    """

    name: str
    table: str
    columns: tuple[Column, ...]
    key: str | None
    hashed: bool
    daily: bool = False


def _text(name: str, *, required: bool = False) -> Column:
    return Column(name, name, (Rule(f"isValidUTF8({name})", "must be UTF-8 text"),), required)


def _hash(name: str) -> Column:
    rule = Rule(f"match({name}, '^[0-9a-f]{{64}}$')", "must be 64 lower-case hex characters")
    return Column(name, name, (rule,), required=True)


def _whole(name: str, most: int = UINT32, *, required: bool = False) -> Column:
    # Programs that know no missing whole numbers write 120 as 120.0.
    digits = f"replaceRegexpOne({name}, '[.]0+$', '')"
    rule = Rule(f"toUInt64OrNull({digits}) <= {most}", f"must be a whole number from 0 to {most}")
    return Column(name, f"toUInt32OrNull({digits})", (rule,), required)


def _flag(name: str) -> Column:
    known = Rule(f"lower({name}) IN ('true', 'false', '1', '0')", "must be true or false")
    return Column(name, f"lower({name}) IN ('true', '1')", (known,), required=False)


def _day(name: str, *, required: bool = False) -> Column:
    # A time at midnight is a date; toDate alone would take 30 February for 2 March.
    date = f"replaceRegexpOne({name}, '[ T]00:00:00([.]0+)?Z?$', '')"
    rule = Rule(f"toString(toDateOrNull({date})) = {date}", "must be a date as YYYY-MM-DD from 1970 on")
    return Column(name, f"toDateOrNull({date})", (rule,), required)


def _data_date() -> Column:
    day = _day("data_date", required=True)
    past = Rule(f"{day.value} <= toDate(now('UTC'))", "must not lie in the future")
    return Column(day.name, day.value, (*day.rules, past), required=True)


def _person(field: person.Field) -> Column:
    """Return the column of a public person field; the first one names the person."""
    if field is person.FIELDS[0]:
        return _hash(field.column)
    for word, build in (("UInt32", _whole), ("Bool", _flag), ("Date", _day)):
        if word in field.type:
            return build(field.column)
    return _text(field.column)


_SIGNALS: Final = (
    _data_date(),
    _whole("topic_id", required=True),
    _hash("hashed_email"),
    _whole("score", 99, required=True),
)
_TOPICS: Final = (
    _whole("topic_id", required=True),
    _text("name", required=True),
    _text("type"),
    _text("industry"),
    _text("category"),
)

DATASETS: Final[Mapping[str, Dataset]] = MappingProxyType(
    {
        "people": Dataset(
            "people", "people", tuple(_person(field) for field in person.FIELDS), key="hashed_email", hashed=True
        ),
        "signals": Dataset("signals", "intent_signals", _SIGNALS, key=None, hashed=True, daily=True),
        "topics": Dataset("topics", "topics", _TOPICS, key="topic_id", hashed=False),
    }
)
