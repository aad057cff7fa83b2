"""
The CSV of a run: pages of result rows -> bytes, the same for every way of reading it.

RFC 4180: UTF-8, commas, CRLF, one header row. Whether cells that a spreadsheet would run are defused is frozen on the
run, so that the same run gives the same bytes for ever.
"""

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
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
TOPIC: Final = ("topicId", "topicName", "type", "industry", "category")

RUN_BY_SPREADSHEETS: Final = frozenset("=@\t\r+-")
SIGNED_NUMBER: Final = re.compile(r"[+-]?[0-9][0-9 ().-]*")


def chunks(pages: Iterable[Sequence[Sequence[Any]]], *, defused: bool) -> Iterator[bytes]:
    """
    Yield the CSV, the header first and then one chunk a page.

    :param pages: rows in rank order, each in the order of :data:`COLUMNS`; topics as tuples in the order of their table
    :param defused: the run's ``csv_defused``
    """
    text = _defused if defused else _plain
    yield _encoded([HEADER])
    for page in pages:
        yield _encoded(_cells(row, text) for row in page)


def _cells(row: Sequence[Any], text: Callable[[str], str]) -> list[Any]:
    """Turn one result row into what the CSV writer takes."""
    cells = [_cell(value, text) for value in row[:-1]]
    topics = [dict(zip(TOPIC, topic, strict=True)) for topic in row[-1]]
    cells.append(json.dumps(topics, ensure_ascii=False, separators=(",", ":")))
    return cells


def _cell(value: Any, text: Callable[[str], str]) -> Any:
    """Turn one value into a cell: null is empty, truth is spelled as in JSON, dates as in ISO 8601."""
    if isinstance(value, str):
        return text(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return value


def _plain(value: str) -> str:
    return value


def _defused(value: str) -> str:
    """Put an apostrophe before what a spreadsheet would take for a formula; phone numbers stay as they are."""
    if value[:1] not in RUN_BY_SPREADSHEETS or not value:
        return value
    return value if SIGNED_NUMBER.fullmatch(value) else f"'{value}"


def _encoded(rows: Iterable[Iterable[Any]]) -> bytes:
    """Write rows as CSV."""
    buffer = io.StringIO(newline="")
    csv.writer(buffer, lineterminator="\r\n").writerows(rows)
    return buffer.getvalue().encode()
