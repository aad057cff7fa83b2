"""Saved definitions from the command line: what is refused, what is stored, what an operator sees."""

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from builders import MONDAY, audience_row, everything, queued, ready, runs_of, saved
from commandline import command, done, sentence
from sqlalchemy import update
from typer.testing import Result

from worker import audience, due, models, plan
from worker.database import transaction

PROGRAM = str(Path(sys.executable).with_name("audience-worker"))
ORGANIZATION = str(uuid4())
CEOS = {"topicIds": [3, 1, 3], "minScore": 20, "filters": {"role": {"isCeo": True}}}
BAD_CONFIGS = {
    "unknown filter": ({"topicIds": [1], "filters": {"role.isKing": True}}, "filters.role.isKing: "),
    "wrong payload": ({"topicIds": [1], "filters": {"role.isCeo": "yes"}}, "filters.role.isCeo: "),
    "no topics": ({"topicIds": []}, "topicIds: "),
    "too many topics": ({"topicIds": list(range(251))}, "topicIds: "),
    "scores crossed": ({"topicIds": [1], "minScore": 90, "maxScore": 80}, "minScore: "),
    "overlap too high": ({"topicIds": [1, 2], "minTopicOverlap": 3}, "minTopicOverlap: "),
    "no object": ([1, 2], ""),
}
BAD_FILES = {
    "no JSON": (b"topicIds: 1", "is not JSON"),
    "not UTF-8": (b'{"topicIds": [1], "sourceUrl": "\xff"}', "is not JSON"),
    "endless nesting": (b"[" * 100_000, "is not JSON"),
    "too long": (b" " * 1_000_001, "is longer than 1,000,000 bytes"),
    "key twice": (b'{"topicIds": [1], "topicIds": [2]}', "'topicIds': must not be given twice"),
}
BAD_OPTIONS = {
    "cron": (["--cron", "61 6 * * *"], "--cron: "),
    "cron of six fields": (["--cron", "0 6 * * * *"], "--cron: "),
    "zone": (["--timezone", "Europe/Atlantis"], "--timezone: "),
    "recipient": (["--notify", "ann@example.com", "--notify", "not an address"], "--notify: "),
    "window": (["--window", "1440"], "--window: "),
    "name": (["--name", " "], "--name: "),
    "organization": (["--organization", "acme"], "'acme' is not a UUID."),
    "draft due": (["--due-now"], "--due-now: "),
}


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    """A file that holds a good config."""
    path = tmp_path / "ceos.json"
    path.write_text(json.dumps(CEOS))
    return path


def audiences(*arguments: object) -> Result:
    """Run a command about audiences."""
    return command("audiences", *arguments)


def added(file: Path, *options: str) -> Result:
    """Add an audience of one organization; later options win."""
    return audiences("add", file, "--organization", ORGANIZATION, "--name", "CEOs", *options)


def test_a_config_is_checked_without_servers_or_settings(file):
    """An empty environment is enough, and a hyphen reads standard input."""
    environment = {"PATH": os.environ["PATH"]}
    arguments = [PROGRAM, "audiences", "check", "-", "--json"]
    checked = subprocess.run(
        arguments, input=file.read_bytes(), env=environment, capture_output=True, check=True, timeout=60
    )

    config = audience.parse(CEOS)
    assert {
        "valid": True,
        "config_hash": config.hash,
        "strategy": plan.STRATEGY,
        "applied_filters": ["role.isCeo"],
        "normalized_config": config.normalized,
    } == json.loads(checked.stdout)


def test_a_checked_config_is_shown_to_people(file):
    """Without --json the same facts stand one a line."""
    printed = done("audiences", "check", file)

    facts = [line.split(maxsplit=1) for line in printed.splitlines()[:2]]
    assert [["valid", "yes"], ["config", f"hash        {audience.parse(CEOS).hash}"]] == facts
    assert "role.isCeo" in printed


@pytest.mark.parametrize(("config", "begins"), BAD_CONFIGS.values(), ids=BAD_CONFIGS)
def test_a_bad_config_is_refused_in_one_sentence(file, config, begins):
    """The sentence names the field and the rule, without any server."""
    file.write_text(json.dumps(config))

    assert sentence(audiences("check", file)).startswith(begins)


@pytest.mark.parametrize(("content", "says"), BAD_FILES.values(), ids=BAD_FILES)
def test_a_bad_file_is_refused_in_one_sentence(file, content, says):
    """What is no config at all is refused before it is looked into."""
    file.write_bytes(content)

    assert says in sentence(audiences("check", file))


def test_a_missing_file_is_refused_in_one_sentence(tmp_path):
    """A wrong path is named."""
    assert "No such file" in sentence(audiences("check", tmp_path / "none.json"))


def test_what_is_refused_is_not_saved(stores, file, tmp_path):
    """Adding refuses a bad config, schedule, recipient, name or id in one sentence, and writes nothing."""
    bad = tmp_path / "bad.json"
    before = everything()

    refusals = {}
    for name, (config, _) in BAD_CONFIGS.items():
        bad.write_text(json.dumps(config))
        refusals[name] = sentence(added(bad, "--active"))
    refusals |= {name: sentence(added(file, *options)) for name, (options, _) in BAD_OPTIONS.items()}

    begins = {name: begin for name, (_, begin) in {**BAD_CONFIGS, **BAD_OPTIONS}.items()}
    assert begins == {name: refusal[: len(begins[name])] for name, refusal in refusals.items()}
    assert before == everything()


def test_an_added_audience_is_a_draft_and_its_id_is_all_that_is_printed(stores, file):
    """A script can take the id from standard output."""
    result = added(file)

    row = audience_row(UUID(result.stdout.strip()))
    told = (row["status"], str(row["organization_id"]), row["name"], row["config_hash"], row["next_due_at"])
    assert ("draft", ORGANIZATION, "CEOs", audience.parse(CEOS).hash, None) == told


def test_every_option_of_an_added_audience_is_stored(stores, file):
    """Schedule and recipients are what the options say, and --due-now makes it due at once."""
    options = ["--active", "--due-now", "--cron", "30 7 * * 1-5", "--timezone", "Europe/Berlin", "--window", "15"]
    people = ["--notify", "ann@example.com", "--notify", "bob@example.com", "--notify-on-manual"]

    told = json.loads(added(file, *options, *people, "--json").stdout)

    row = audience_row(UUID(told["id"]))
    assert row["next_due_at"] == row["created_at"] == datetime.fromisoformat(told["next_due_at"])
    names = ("status", "refresh_cron", "timezone", "refresh_window_minutes", "notify_emails", "notify_on_manual")
    expected = ["active", "30 7 * * 1-5", "Europe/Berlin", 15, ["ann@example.com", "bob@example.com"], True]
    assert expected == [row[name] for name in names]


def test_a_list_is_narrowed_by_organization_and_status(stores):
    """Only what was asked for is listed, as JSON or as a line an audience."""
    ours = saved(organization_id=UUID(ORGANIZATION), status="active", name="Züge & Bahnen [bold]")
    saved(organization_id=UUID(ORGANIZATION))
    saved(status="active")

    rows = json.loads(done("audiences", "list", "--organization", ORGANIZATION, "--status", "active", "--json"))

    assert [str(ours)] == [row["id"] for row in rows]
    assert "Züge & Bahnen [bold]" in done("audiences", "list")


def test_an_active_audience_shows_its_next_five_starts(stores):
    """Each start is a slot plus the audience's own offset, the stored one first."""
    audience_id = saved(status="active", timezone="Europe/Berlin", refresh_cron="0 6 * * *", now=None)

    starts = [datetime.fromisoformat(start) for start in shown(audience_id)["next_starts"]]

    offset = due.offset(audience_id, 60)
    berlin = due.place("Europe/Berlin")
    assert audience_row(audience_id)["next_due_at"] == starts[0]
    assert ["06:00"] * 5 == [f"{(start - offset).astimezone(berlin):%H:%M}" for start in starts]
    assert [1] * 4 == [(b.date() - a.date()).days for a, b in itertools.pairwise(starts)]


def test_a_draft_shows_when_it_would_start(stores):
    """Before activation the same five starts are told as what would be."""
    printed = done("audiences", "show", saved(notify_emails=("ann@example.com", "bob@example.com")))

    assert "starts, were it active" in printed
    assert 5 == printed.count("+00:00") - printed.count("created")
    assert "ann@example.com\n" in printed
    assert "bob@example.com\n" in printed


def test_a_due_audience_says_what_it_waits_for(stores):
    """An operator sees whether data or the scheduler is missing."""
    audience_id = saved(status="active", due_now=True)

    assert "for a first ready date" == shown(audience_id)["waits"]
    ready(MONDAY)
    assert "for the scheduler's next pass" == shown(audience_id)["waits"]
    served(audience_id, MONDAY)
    assert f"for intent data after {MONDAY}" == shown(audience_id)["waits"]


def test_an_audience_shows_its_last_runs(stores):
    """The newest five runs stand below the facts."""
    audience_id = saved()
    run_ids = [queued(audience_id, created_at=audience_row(audience_id)["created_at"] + at) for at in minutes(6)]

    printed = done("audiences", "show", audience_id)

    assert [False, *[True] * 5] == [str(run_id) in printed for run_id in run_ids]


def test_an_activated_audience_is_due_and_says_when(stores):
    """Activation computes the next start; a second one with --due-now brings it forward."""
    audience_id = saved(now=None)

    first = done("audiences", "activate", audience_id)

    row = audience_row(audience_id)
    assert f"Active; next start {row['next_due_at'].isoformat(sep=' ', timespec='seconds')}.\n" == first
    done("audiences", "activate", audience_id, "--due-now")
    assert audience_row(audience_id)["next_due_at"] < row["next_due_at"]


def test_an_audience_that_is_not_refreshed_daily_promises_no_starts(stores):
    """It can be active all the same, and the answer says why nothing follows."""
    audience_id = saved(daily_refresh_enabled=False)

    assert "Active, but its daily refresh is switched off.\n" == done("audiences", "activate", audience_id)
    assert [] == shown(audience_id)["next_starts"]


def test_a_paused_audience_says_how_many_daily_runs_it_cancelled(stores):
    """Daily runs that wait are cancelled, manual ones stay."""
    audience_id = saved(status="active")
    queued(audience_id, run_type="daily", lane="daily")
    queued(audience_id, run_type="manual")

    assert "Paused; 1 daily run that waited was cancelled.\n" == done("audiences", "pause", audience_id)
    assert [("daily", "cancelled", MONDAY), ("manual", "queued", MONDAY)] == runs_of(audience_id)
    assert "Paused; no daily runs that waited were cancelled.\n" == done("audiences", "pause", audience_id)


def test_an_unknown_audience_is_refused(stores):
    """A wrong id is named in the refusal, and a malformed one never reaches the database."""
    audience_id = uuid4()

    for verb in ("show", "activate", "pause"):
        assert f"There is no audience {audience_id}." == sentence(audiences(verb, audience_id))
        assert "'nonsense' is not a UUID." == sentence(audiences(verb, "nonsense"))


def shown(audience_id: UUID) -> dict[str, Any]:
    """Show an audience as JSON."""
    return json.loads(done("audiences", "show", audience_id, "--json"))


def served(audience_id: UUID, data_date: date) -> None:
    """Say that an audience has had its daily run of a data date."""
    with transaction() as connection:
        mine = update(models.audiences).where(models.audiences.c.id == audience_id)
        connection.execute(mine.values(last_daily_date=data_date))


def minutes(count: int) -> list[timedelta]:
    """Return so many minutes, one after the other."""
    return [timedelta(minutes=number) for number in range(count)]
