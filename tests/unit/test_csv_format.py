"""The CSV of a run: what a cell becomes, and that the same rows give the same bytes."""

import csv
import io
import json
from datetime import date
from weakref import ref

import pytest

from worker import csv_format, person

TOPIC = {"topic_id": 7, "name": 'A "topic", ünlike', "type": "b2b", "industry": None, "category": "Technology"}


def row(**values):
    """Build one result row; what is not named is null."""
    values = {"hashed_email": "a" * 64, "score": 84, "topic_overlap": 1, "matched_topics": [TOPIC], **values}
    return tuple(values.get(column) for column in csv_format.COLUMNS)


def cells(rows, *, defused=True):
    """Write rows and read them back with the standard reader, as mappings by header."""
    text = b"".join(csv_format.chunks([rows], defused=defused)).decode()
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_the_header_names_every_public_field_and_then_the_intent():
    """The first chunk is the header alone, so a run without results still has one."""
    only = list(csv_format.chunks([], defused=True))

    names = [field.name for field in person.FIELDS]
    assert [",".join([*names, "intent.score", "intent.topicOverlap", "intent.matchedTopics"]) + "\r\n"] == [
        chunk.decode() for chunk in only
    ]


def test_null_truth_numbers_and_dates_have_one_spelling():
    """Null is empty, truth is spelled as in JSON, dates as in ISO 8601."""
    values = {"role_is_ceo": True, "role_is_vp": False, "company_employee_count": 0}
    (written,) = cells([row(**values, source_last_seen_on=date(2026, 5, 4))])

    expected = ("", "true", "false", "", "0", "2026-05-04", "84")
    names = ("firstName", "role.isCeo", "role.isVp", "role.isFinance", "company.employeeCount")
    assert expected == tuple(written[name] for name in (*names, "source.lastSeenOn", "intent.score"))


def test_matched_topics_are_json_with_their_public_names():
    """Quotes, commas and letters outside ASCII survive both JSON and CSV."""
    (written,) = cells([row()])

    expected = [{"topicId": 7, "topicName": 'A "topic", ünlike', "type": "b2b", "industry": None}]
    expected[0]["category"] = "Technology"
    assert expected == json.loads(written["intent.matchedTopics"])


@pytest.mark.parametrize("text", ["a,b", 'a"b', "a\nb", "a\r\nb", " a ", "ünlike 名前 🙂", "a;b", "'a'"])
def test_what_the_standard_reader_reads_is_what_was_written(text):
    """Delimiters, quotes and line breaks inside a cell stay inside the cell."""
    (written,) = cells([row(first_name=text)])

    assert text == written["firstName"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("=1+1", "'=1+1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        ("\r=1", "'\r=1"),
        ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
        ("-2+3+cmd", "'-2+3+cmd"),
        ("-", "'-"),
        ("+1 (800) 555-1212", "+1 (800) 555-1212"),
        ("+18005551212", "+18005551212"),
        ("-5", "-5"),
        ("-5.5", "-5.5"),
        ("+1\n=1", "'+1\n=1"),
        ("+1 (800)\n", "'+1 (800)\n"),
        ("plain = text", "plain = text"),
        ("", ""),
    ],
)
def test_cells_that_a_spreadsheet_would_run_are_defused(text, expected):
    """An apostrophe stands before a formula, and phone numbers stay phone numbers."""
    (written,) = cells([row(job_title=text)])

    assert expected == written["jobTitle"]


def test_a_run_that_is_not_defused_keeps_its_cells():
    """The setting frozen on the run turns the apostrophe off."""
    (written,) = cells([row(job_title="=1+1")], defused=False)

    assert written["jobTitle"] == "=1+1"


def test_pages_do_not_show_in_the_bytes():
    """The same rows give the same bytes, however they were paged."""
    rows = [row(first_name=str(number), role_is_ceo=number % 2 == 0) for number in range(10)]

    whole = b"".join(csv_format.chunks([rows], defused=True))
    paged = b"".join(csv_format.chunks([rows[:3], rows[3:4], rows[4:]], defused=True))
    assert whole == paged


def test_no_page_is_held_while_its_chunk_is_read():
    """Whoever reads slowly keeps the bytes alive, not the rows they were made of."""

    class Page(list):
        """A page whose end can be seen."""

    def made():
        page = Page([row()])
        seen.append(ref(page))
        return page

    seen = []
    chunks = csv_format.chunks((made() for _ in range(9)), defused=True)
    for _ in range(3):
        next(chunks)

    assert [None, None] == [page() for page in seen]
