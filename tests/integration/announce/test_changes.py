"""What changed since the run before: counted once, before file and mails, and said wherever the run is looked at."""

import csv
import io
import json
from datetime import UTC, datetime
from uuid import UUID

import pytest
from beside import beside
from builders import MONDAY, TUESDAY, audience_row, run_row, saved
from commandline import command, done, sentence
from sqlalchemy import update

from local.process import free_port
from worker import changes, drain, errors, loads, manual, models, settings, storage
from worker import clickhouse as door
from worker.database import transaction

ANN = ("ann@example.com",)


@pytest.fixture
def people(clickhouse):
    """Forty people, and what makes some of them research the audience's topic on a day."""
    clickhouse.command(
        "INSERT INTO people (hem_hash, hashed_email, job_title) SELECT number, toString(number), '=1+1' FROM numbers(40)"
    )

    def research(day, numbers, *, topic=1):
        clickhouse.command(
            "INSERT INTO intent_signals SELECT {day:Date}, {topic:UInt32}, {first:UInt64} + number, 80"
            " FROM numbers({count:UInt64})",
            parameters={"day": day, "topic": topic, "first": numbers.start, "count": len(numbers)},
        )
        loads.make_ready(day)
        loads.watch()

    return research


def completed(audience_id):
    """Queue a run by hand and let a worker complete it."""
    run_id = manual.queue(audience_id).run_id
    assert drain.drain("manual", "w")["completed"] == 1
    return run_id


def figures(run_id):
    """How many people are new and how many left."""
    row = run_row(run_id)
    return row["people_new"], row["people_left"]


def stored(run_id):
    """Read the stored CSV of a run by hashed email."""
    text = b"".join(storage.read(f"{run_id}/1.csv")).decode()
    return {row["hashedEmail"]: row for row in csv.DictReader(io.StringIO(text, newline=""))}


def change_export(run_id, **values):
    """Change an export behind the story's back."""
    with transaction() as connection:
        connection.execute(update(models.exports).where(models.exports.c.run_id == run_id).values(**values))


def test_mail_command_line_and_list_say_what_changed(people, mailbox, work, tmp_path):
    """Ten of thirty left and four came: counted by ClickHouse, told to the reader and the operator, listed as a CSV."""
    audience_id = saved(notify_emails=ANN, notify_on_manual=True, now=None)
    people(MONDAY, range(30))
    first = completed(audience_id)
    work()
    people(TUESDAY, range(10, 34))
    second = completed(audience_id)
    work()

    before, after = (stored(run_id) for run_id in (first, second))
    assert ((None, None), (4, 10)) == (figures(first), figures(second))
    said = [message.get_body((kind,)).get_content() for message in mailbox() for kind in ("plain", "html")]
    words = "4 people are new and 10 have left since the list of 4 May 2026."
    assert [False, False, True, True] == sorted(words in " ".join(one.split()) for one in said)
    told = " ".join(done("runs", "show", second).split())
    assert f"changes 4 new, 10 left, compared with run {first} anomaly - held back -" in told
    file = tmp_path / "new.csv"
    assert f"New people written to {file}: 4.\n" == done("exports", "new", second, "--to", file)
    with file.open(encoding="utf-8", newline="") as lines:
        new = list(csv.DictReader(lines))
    assert [row for email, row in after.items() if email not in before] == new
    assert {"'=1+1"} == {row["jobTitle"] for row in new}
    assert [file] == [path for path in tmp_path.iterdir() if path.is_file()]


def test_an_anomaly_is_held_back_until_it_is_published(people, configured, mailbox, work):
    """Neither size nor mails move; the next run is compared with what readers know; the publisher's word sends them."""
    configured(HOLD_ANOMALIES="true")
    audience_id = saved(notify_emails=ANN, notify_on_manual=True, now=None)
    people(MONDAY, range(30))
    completed(audience_id)
    work()
    people(TUESDAY, range(30), topic=2)
    fallen = completed(audience_id)

    held = work()

    assert (1, None, 1) == (held["exports_completed"], held.get("mails_sent"), len(mailbox()))
    assert (0, 30, "fell_to_zero", True) == (*figures(fallen), run_row(fallen)["anomaly"], run_row(fallen)["held"])
    assert 30 == audience_row(audience_id)["audience_size"]
    assert [str(fallen)] == [run["id"] for run in json.loads(done("runs", "list", "--held", "--json"))]
    assert f"until: audience-worker runs publish {fallen}" in done("runs", "show", fallen)

    assert "Published; mails queued: 1.\n" == done("runs", "publish", fallen)
    work()

    [mail] = [message for message in mailbox() if "nobody matched" in message["Subject"]]
    assert "This is unusual: the list of 4 May 2026 had 30 people." in mail.get_body(("plain",)).get_content()
    assert (0, fallen) == tuple(audience_row(audience_id)[name] for name in ("audience_size", "refreshed_by_run_id"))
    assert "Only a run that is held back can be published" in sentence(command("runs", "publish", fallen))
    assert 2 == len(mailbox())


def test_a_passing_fault_leaves_no_figure_out(clickhouse, stores, mailbox, work, monkeypatch):
    """While ClickHouse is away the export waits uncharged and the mail behind it; then both say everything."""
    _, run_id = beside(clickhouse, range(5), range(2, 9), recipients=ANN)
    with monkeypatch.context() as patch:
        patch.setenv("CLICKHOUSE_URL", f"http://127.0.0.1:{free_port()}/default")
        settings.current.cache_clear()
        door.forget()
        away = work()
    settings.current.cache_clear()
    door.forget()

    assert (1, None, 0) == (away["exports_retried"], away.get("mails_sent"), len(mailbox()))
    change_export(run_id, due_at=datetime.now(UTC))
    back = work()
    assert (1, 1) == (back["exports_completed"], back["mails_sent"])
    assert (4, 2) == figures(run_id)
    assert "4 people are new and 2 have left" in mailbox()[0].get_body(("plain",)).get_content()


def test_whoever_lost_the_export_notes_no_figures(clickhouse, monkeypatch, work, rescue_later):
    """A rescuer takes the export over while the snapshots are compared; its next holder counts again."""
    _, run_id = beside(clickhouse, range(5), range(2, 9))
    count = changes.count

    def slow(*snapshots, **options):
        rescue_later()
        return count(*snapshots, **options)

    with monkeypatch.context() as patch:
        patch.setattr(changes, "count", slow)
        assert work()["exports_lost"] == 1
    assert (None, None) == figures(run_id)

    change_export(run_id, due_at=datetime.now(UTC))
    work()
    assert (4, 2) == figures(run_id)


def test_a_comparison_that_fails_again_and_again_gives_way_to_the_file(clickhouse, monkeypatch, work):
    """Charged faults set the export back until half the budget is spent; then it is stored without the figures."""
    _, run_id = beside(clickhouse, range(5), range(2, 9))

    def refused(*_, **__):
        raise errors.QueryTimeout

    monkeypatch.setattr(changes, "count", refused)

    outcomes = []
    for failures in (3, 4):
        change_export(run_id, failures=failures, due_at=datetime.now(UTC))
        outcomes += [name for name in work() if name.startswith("exports_")]

    assert (["exports_retried", "exports_completed"], (None, None)) == (outcomes, figures(run_id))


def test_rows_that_are_gone_from_the_run_before_leave_the_figures_out(clickhouse, work, tmp_path):
    """Nobody can tell any more, so nothing is said; the file is stored, and a list of new people is not begun."""
    first, run_id = beside(clickhouse, range(5), range(2, 9))
    key = run_row(first)["snapshot_key"]
    clickhouse.command(
        f"ALTER TABLE audience_results DELETE WHERE snapshot_key = '{key}' AND rank = 3 SETTINGS mutations_sync = 2"
    )

    assert (1, (None, None)) == (work()["exports_completed"], figures(run_id))
    assert f"not counted, compared with run {first}" in done("runs", "show", run_id)
    assert 1 == command("exports", "new", run_id, "--to", tmp_path / "new.csv").exit_code
    assert [] == list(tmp_path.glob("*new.csv*"))


def test_a_shared_snapshot_changes_nothing_and_asks_nothing(people, monkeypatch, work):
    """A second run of the same day takes the first one's snapshot over: nobody is new, nobody left."""
    audience_id = saved(now=None)
    people(MONDAY, range(3))
    completed(audience_id)
    again = completed(audience_id)
    monkeypatch.setattr(changes, "count", lambda *_, **__: pytest.fail("ClickHouse was asked"))

    assert work()["exports_completed"] == 2
    assert (0, 0) == figures(again)


@pytest.mark.parametrize("where", ["nowhere/new.csv", "."])
def test_a_list_needs_a_place_and_a_run_to_compare_with(tables, tmp_path, where):
    """A folder that is not there, a folder for a file, a first run: one sentence each, and nothing is written."""
    first, second = beside(None, range(5), range(5))
    file = tmp_path / "new.csv"

    assert "cannot be a file" in sentence(command("exports", "new", second, "--to", tmp_path / where))
    assert "no earlier run" in sentence(command("exports", "new", first, "--to", file))
    assert "There is no run" in sentence(command("exports", "new", UUID(int=9), "--to", file))
    assert [] == [path for path in tmp_path.iterdir() if path.is_file()]
