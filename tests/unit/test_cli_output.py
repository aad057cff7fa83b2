"""How commands speak to people and to programs."""

import json
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from uuid import UUID

from cli import output


@dataclass(frozen=True)
class Thing:
    """Something a command shows."""

    name: str
    day: date
    parts: tuple[int, ...]


def test_json_knows_what_commands_show(capsys):
    """Dataclasses, days, times and ids come out as JSON, letters of every script as themselves."""
    moment = datetime(2026, 5, 4, 6, 30, tzinfo=UTC)
    output.show_json({"thing": Thing("名前", date(2026, 5, 4), (1, 2)), "at": moment, "id": UUID(int=7)})

    said = capsys.readouterr().out

    assert {
        "thing": {"name": "名前", "day": "2026-05-04", "parts": [1, 2]},
        "at": "2026-05-04T06:30:00+00:00",
        "id": "00000000-0000-0000-0000-000000000007",
    } == json.loads(said)
    assert "名前" in said


def test_a_table_shows_values_for_people(capsys):
    """Numbers are grouped and stand to the right, None is a dash, booleans are words."""
    output.show_table(("name", "rows", "ready"), [("a", 12_345, True), ("b", None, False)])

    lines = [line.split() for line in capsys.readouterr().out.splitlines() if line.strip()]

    assert [["name", "rows", "ready"], ["a", "12,345", "yes"], ["b", "-", "no"]] == [lines[0], *lines[2:]]


def test_a_table_reads_no_markup_in_cells(capsys):
    """What looks like markup or an emoji's name in a stored name is shown as it is."""
    output.show_table(("name",), [("[red]a[/red] :smile: [link=x]",)])

    assert "[red]a[/red] :smile: [link=x]" in capsys.readouterr().out


def test_a_piped_table_is_not_cut_to_a_terminal(capsys):
    """A line of a wide table stays one line where no terminal limits it."""
    output.show_table(("a", "b", "c"), [("x" * 50, "y" * 50, "z" * 50)])

    assert any("x" * 50 in line and "z" * 50 in line for line in capsys.readouterr().out.splitlines())


def test_transfers_print_a_line_a_file_without_a_terminal(capsys):
    """A file is told once, when all of it has left, on standard error."""
    with output.transfers() as told:
        told(Path("folder/people.parquet"), 10, 2_000_000)
        told(Path("folder/people.parquet"), 2_000_000, 2_000_000)
        told(Path("folder/people.parquet"), 2_000_000, 2_000_000)

    assert ("", "people.parquet: 2.0 MB sent\n") == tuple(capsys.readouterr())
