"""The ClickHouse columns that statements name, and which types they can read."""

import re
from collections.abc import Mapping
from typing import Final

from worker import person, serving_plan

_CHOICE: Final = "LowCardinality(Nullable(String))"
_TOPIC: Final = {"name": "Nullable(String)", "type": _CHOICE, "industry": _CHOICE, "category": _CHOICE}
_PERSON: Final = {field.column: field.type for field in person.FIELDS}

TABLES: Final[Mapping[str, Mapping[str, str]]] = {
    "intent_signals": {"data_date": "Date", "topic_id": "UInt32", "hem_hash": "UInt64", "score": "UInt8"},
    "people": {"hem_hash": "UInt64", **_PERSON},
    "topics": {"topic_id": "UInt32", **_TOPIC},
    "data_loads": {
        "dataset": "LowCardinality(String)",
        "data_date": "Date",
        "version": "UInt64",
        "rows": "UInt64",
        "loaded_at": "DateTime64(3, 'UTC')",
    },
    "audience_results": {
        "snapshot_key": "UUID",
        "written_on": "Date",
        "rank": "UInt64",
        "data_date": "Date",
        "hem_hash": "UInt64",
        "score": "UInt8",
        "topic_overlap": "UInt16",
        "matched_topics": "Array(Tuple(topic_id UInt32, "
        + ", ".join(f"{name} {type_}" for name, type_ in _TOPIC.items())
        + "))",
        **_PERSON,
    },
    "erased_people": {"hem_hash": "UInt64", "erased_at": "DateTime64(3, 'UTC')"},
    "serving_index": {
        "piece": "UInt64",
        "topic_id": "UInt32",
        "hem_hash": "UInt64",
        "score": "UInt8",
        "flags": "UInt16",
        **dict.fromkeys(serving_plan.NUMBERS, "Int64"),
        **dict.fromkeys((*serving_plan.CHOICES, *serving_plan.TEXTS), "UInt64"),
    },
    "serving_texts": {"piece": "UInt64", "field": "LowCardinality(String)", "code": "UInt64", "text": "String"},
    "selections": {
        "batch": "UUID",
        "written_on": "Date",
        "number": "UInt16",
        "candidates": "UInt64",
        "results": "UInt64",
        "people": "Array(Tuple(UInt64, UInt8, UInt16, Array(Tuple(Int16, UInt32))))",
    },
}
"""Each column with the type that the migrations give it."""

_WRAPPED: Final = re.compile(r"(LowCardinality|Nullable)\((.*)\)")
# What owners of a source may choose among.
_KINDS: Final = (r"U?Int(8|16|32|64)", r"Date(32)?", r"DateTime(64)?(\(.*\))?", r"Bool|UInt8")


def misfits(found: Mapping[tuple[str, str], str]) -> list[str]:
    """
    Say which tables and columns are missing or cannot be read as they are, each as the end of a sentence.

    :param found: type by table and column
    """
    tables = {table for table, _ in found}
    absent = [f"lacks the table {table}" for table in TABLES if table not in tables]
    wanted = {
        (table, name): type_ for table, names in TABLES.items() if table in tables for name, type_ in names.items()
    }
    missing = [f"lacks {'.'.join(column)}" for column in wanted if column not in found]
    others = [
        f"has {'.'.join(column)} as {found[column]} instead of {type_}"
        for column, type_ in wanted.items()
        if column in found and not _fits(column[1], found[column], type_)
    ]
    return [*absent, *missing, *others]


def _fits(name: str, found: str, wanted: str) -> bool:
    """Whether statements can read a column: of the same kind, and null only where null is expected."""
    if "Nullable" in found and "Nullable" not in wanted:
        return False
    one, other = _bare(found), _bare(wanted)
    # A hash of another width joins nobody.
    kinds = () if name == "hem_hash" else _KINDS
    return one == other or any(re.fullmatch(kind, one) and re.fullmatch(kind, other) for kind in kinds)


def _bare(type_: str) -> str:
    """Take off what only says how values are kept."""
    while wrapped := _WRAPPED.fullmatch(type_):
        type_ = wrapped[2]
    return type_
