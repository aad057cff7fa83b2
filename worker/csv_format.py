"""
The CSV of a run: pages of result rows -> bytes, the same for every way of reading it.

RFC 4180: UTF-8, commas, CRLF, one header row. Whether cells that a spreadsheet would run are defused is frozen on the
run, so that the same run gives the same bytes for ever.
"""

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final

from worker import person

CONTENT_TYPE: Final = "text/csv; charset=utf-8"
COLUMNS: Final[tuple[str, ...]] = (*person.COLUMNS, "score", "topic_overlap", "matched_topics")
"""The columns of ``audience_results`` that a row holds, in the order of the CSV."""

HEADER: Final[tuple[str, ...]] = (
    *(field.name for field in person.FIELDS),
    "intent.score",
    "intent.topicOverlap",
    "intent.matchedTopics",
)
TOPIC: Final = {
    "topicId": "topic_id",
    "topicName": "name",
    "type": "type",
    "industry": "industry",
    "category": "category",
}
"""A matched topic's public names, and its columns."""

FLAGS: Final = frozenset(field.column for field in person.FIELDS if "Bool" in field.type)
TEXTS: Final = frozenset(field.column for field in person.FIELDS if "String" in field.type)
SPELLED: Final = {True: "true", False: "false", None: ""}

RUN_BY_SPREADSHEETS: Final = frozenset("=@\t\r+-")
SIGNED_NUMBER: Final = re.compile(r"[+-]?[0-9][0-9 ().-]*")


def chunks(pages: Iterable[Sequence[Sequence[Any]]], *, defused: bool) -> Iterator[bytes]:
    """
    Yield the CSV, the header first and then one chunk a page.

    :param pages: rows in rank order, each in the order of :data:`COLUMNS`; a topic as its columns by name
    :param defused: the run's ``csv_defused``
    """
    yield _encoded([HEADER])
    # No page is held by a name here: whoever takes the chunks may be slow, and there may be many of them.
    yield from map(partial(_written, {}, defused=defused), pages)


def _written(known: dict[tuple[Any, ...], str], page: Sequence[Sequence[Any]], *, defused: bool) -> bytes:
    """Turn one page into CSV."""
    columns = zip(*page, strict=True)
    return _encoded(zip(*_cells(columns, known, defused=defused), strict=True))


def _cells(
    columns: Iterable[tuple[Any, ...]], known: dict[tuple[Any, ...], str], *, defused: bool
) -> Iterator[Iterable[Any]]:
    """Turn each column of a page into cells; column by column, because a value's kind is its column's."""
    for name, values in zip(COLUMNS, columns, strict=True):
        if name in FLAGS:
            yield [SPELLED[value] for value in values]
        elif name == "matched_topics":
            yield [_topics(value, known) for value in values]
        elif name in TEXTS and defused:
            yield [_defused(value) if value and value[0] in RUN_BY_SPREADSHEETS else value for value in values]
        else:
            yield values


def _defused(value: str) -> str:
    """Put an apostrophe before what a spreadsheet would take for a formula; phone numbers stay as they are."""
    return value if SIGNED_NUMBER.fullmatch(value) else f"'{value}"


def _topics(topics: Iterable[Mapping[str, Any]], known: dict[tuple[Any, ...], str]) -> str:
    """Spell topics as JSON; an audience has few of them and its rows many, so each is spelled once."""
    spelled = []
    for topic in topics:
        values = tuple(topic.values())
        if values not in known:
            public = {name: topic[column] for name, column in TOPIC.items()}
            known[values] = json.dumps(public, ensure_ascii=False, separators=(",", ":"))
        spelled.append(known[values])
    return f"[{','.join(spelled)}]"


def _encoded(rows: Iterable[Iterable[Any]]) -> bytes:
    """Write rows as CSV."""
    buffer = io.StringIO(newline="")
    csv.writer(buffer, lineterminator="\r\n").writerows(rows)
    return buffer.getvalue().encode()
