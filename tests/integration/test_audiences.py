"""Saved definitions: refused in one sentence, or saved with the dates that follow from them."""

import dataclasses
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from builders import (
    MONDAY,
    NOON,
    audience_row,
    config,
    everything,
    ready,
    saved,
)

from worker import audiences, daily, due, errors, models
from worker.database import transaction

TOMORROW_SIX = datetime(2026, 5, 7, 6, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def _tables(tables):
    """Every test here begins with empty tables."""


def dates(audience_id):
    """Read an audience's next slot and the moment it is due."""
    return tuple(audience_row(audience_id)[name] for name in ("next_slot_at", "next_due_at"))


def set_status(audience_id, status, **options):
    """Change an audience's status at noon."""
    with transaction() as connection:
        audiences.set_status(connection, audience_id, status, **{"now": NOON, **options})


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"name": ""}, "name: must have 1 to 255 characters"),
        ({"name": " \t "}, "name: must have 1 to 255 characters"),
        ({"name": "x" * 256}, "name: must have 1 to 255 characters"),
        ({"name": "Buyers\r\nBcc: a@b.example"}, "name: must not hold control characters"),
        ({"name": "Buyers\n"}, "name: must not hold control characters"),
        ({"name": "Buyers\x00"}, "name: must not hold control characters"),
        ({"name": "Buyers\x7f!"}, "name: must not hold control characters"),
        ({"name": "Buyers\u2028!"}, "name: must not hold control characters"),
        ({"name": "Buyers\u202egpj.exe"}, "name: must not hold control characters"),
        ({"name": "Buyers\ud800"}, "name: must not hold control characters"),
        ({"status": "deleted"}, "status: must be draft, active or paused"),
        ({"refresh_cron": "at six"}, "refresh_cron: "),
        ({"refresh_cron": "0 6 * *"}, "refresh_cron: "),
        ({"refresh_cron": "0 6 * * * *"}, "refresh_cron: "),
        ({"refresh_cron": "61 6 * * *"}, "refresh_cron: "),
        ({"refresh_cron": "0 6 30 2 *"}, "refresh_cron: "),
        ({"refresh_cron": "H H * * *"}, "refresh_cron: "),
        ({"timezone": "Mars/Olympus"}, "timezone: "),
        ({"timezone": "../../etc/passwd"}, "timezone: "),
        ({"timezone": ""}, "timezone: "),
        ({"refresh_window_minutes": -1}, "refresh_window_minutes: must be 0 to 1439"),
        ({"refresh_window_minutes": 1440}, "refresh_window_minutes: must be 0 to 1439"),
        ({"notify_emails": ("a@b.example", "nobody")}, "notify_emails: number 2 is not an e-mail address"),
        ({"notify_emails": ("a@b.example\r\nBcc: c@d.example",)}, "notify_emails: number 1 is not an e-mail address"),
        ({"notify_emails": ("A <a@b.example>",)}, "notify_emails: number 1 is not an e-mail address"),
        ({"notify_emails": tuple(f"a{n}@b.example" for n in range(21))}, "notify_emails: must be at most 20 addresses"),
    ],
)
def test_what_cannot_work_is_refused_and_nothing_written(values, words):
    """A wrong name, schedule or recipient is named in one sentence, and no audience is saved."""
    with pytest.raises(errors.InvalidField) as refused:
        saved(**{"status": "active", **values})

    assert str(refused.value).startswith(words)
    assert 1 == str(refused.value).count(". ") + str(refused.value).endswith(".")
    assert [] == everything()["audiences"]


def test_a_refusal_repeats_no_address():
    """Addresses are personal data and stay out of error messages."""
    with pytest.raises(errors.Refusal) as refused:
        saved(notify_emails=("john.doe@",))

    assert "john" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("x" * 255, "x" * 255),
        ("  Buyers  ", "Buyers"),
        ("Cafe\u0301", "Caf\u00e9"),
        ("👩\u200d💻 'quoted\" {x:String} %s \\", "👩\u200d💻 'quoted\" {x:String} %s \\"),
        ("\u0646\u0645\u06cc\u200c\u062f\u0627\u0646\u0645", "\u0646\u0645\u06cc\u200c\u062f\u0627\u0646\u0645"),
    ],
)
def test_a_name_is_kept_as_text(name, kept):
    """Names keep every visible sign and the joiners that spelling needs."""
    assert kept == audience_row(saved(name=name))["name"]


def test_recipients_are_kept_once_each():
    """Twenty addresses are allowed, and a repeated one counts once."""
    addresses = tuple(f"a{number}@b.example" for number in range(20))

    audience_id = saved(notify_emails=(*addresses, "a0@B.EXAMPLE"))

    assert list(addresses) == audience_row(audience_id)["notify_emails"]


def test_a_saved_audience_carries_its_config():
    """The normalised config and its hash are stored with the defaults of a refresh."""
    row, wanted = audience_row(saved()), config()

    names = ("config", "config_hash", "status", "audience_size", "refresh_cron", "timezone", "refresh_window_minutes")
    assert (wanted.normalized, wanted.hash, "draft", 0, "0 6 * * *", "UTC", 60) == tuple(row[name] for name in names)
    assert (None, None) == dates(row["id"])


def test_an_active_audience_has_its_next_dates():
    """It is due its own offset behind the first slot ahead."""
    audience_id = saved(status="active")

    assert (TOMORROW_SIX, TOMORROW_SIX + due.offset(audience_id, 60)) == dates(audience_id)


def test_an_audience_may_be_due_now():
    """The first refresh of an active audience can be made due at once, that of a draft cannot."""
    assert (NOON, NOON) == dates(saved(status="active", due_now=True))
    assert (None, None) == dates(saved(due_now=True))


def test_an_audience_that_is_not_refreshed_has_no_date():
    """Active alone is not enough."""
    assert (None, None) == dates(saved(status="active", daily_refresh_enabled=False))


def test_activation_sets_the_next_dates_and_queues_nothing():
    """A draft that becomes active is due at its next slot."""
    ready(MONDAY)
    audience_id = saved()

    set_status(audience_id, "active")

    assert (TOMORROW_SIX, TOMORROW_SIX + due.offset(audience_id, 60)) == dates(audience_id)
    assert {"due": 0, "queued": 0} == daily.queue_daily_runs(now=NOON)


def test_activation_may_be_due_now():
    """On request the first refresh comes at once."""
    audience_id = saved()

    set_status(audience_id, "active", due_now=True)

    assert (NOON, NOON) == dates(audience_id)


def test_activating_again_puts_nothing_off():
    """An active audience that waits for late data keeps its date and is queued when the data comes."""
    audience_id = saved(status="active", due_now=True)

    set_status(audience_id, "active", now=NOON + HOUR)

    assert (NOON, NOON) == dates(audience_id)
    ready(MONDAY)
    assert {"due": 1, "queued": 1} == daily.queue_daily_runs(now=NOON + HOUR)


def test_pausing_and_activating_starts_from_now():
    """A pause clears the dates, and activation computes them anew."""
    audience_id = saved(status="active", due_now=True)

    set_status(audience_id, "paused")
    paused = dates(audience_id)
    set_status(audience_id, "active")

    assert (None, None) == paused
    assert TOMORROW_SIX == dates(audience_id)[0]


def test_an_unknown_audience_has_no_status():
    """Neither a made-up id nor a deleted audience can be activated."""
    audience_id = saved(status="active")
    with transaction() as connection:
        audiences.delete(connection, audience_id, now=NOON)

    for unknown in (audience_id, uuid4()):
        with pytest.raises(errors.NotFound):
            set_status(unknown, "active")
    assert (None, None) == dates(audience_id)


def test_an_unknown_status_is_refused():
    """Neither the table nor its constraint is asked."""
    audience_id = saved()

    with pytest.raises(errors.InvalidField, match=r"^status: must be draft, active or paused\.$"):
        set_status(audience_id, "deleted")


def test_an_audience_is_found_in_its_organization_only():
    """Another tenant's audience is as unknown as one that never was, whatever is to be done with it."""
    organization_id = uuid4()
    audience_id = saved(organization_id=organization_id)
    before = audience_row(audience_id)

    with transaction() as connection:
        assert audience_id == audiences.get(connection, audience_id, organization_id)["id"]
        for act in (
            lambda of: audiences.get(connection, audience_id, of),
            lambda of: audiences.locked(connection, audience_id, of),
            lambda of: audiences.change(connection, audience_id, {"name": "Stolen"}, organization_id=of),
            lambda of: audiences.set_status(connection, audience_id, "active", organization_id=of),
            lambda of: audiences.delete(connection, audience_id, organization_id=of),
        ):
            with pytest.raises(errors.AudienceNotFound):
                act(uuid4())
    assert before == audience_row(audience_id)


def test_audiences_are_listed_newest_first():
    """A list is narrowed by organization and status and leaves deleted ones out."""
    organization_id = uuid4()
    first, second, gone = (saved(organization_id=organization_id, status="active") for _ in range(3))
    saved(organization_id=organization_id)
    saved(status="active")
    with transaction() as connection:
        audiences.delete(connection, gone, now=NOON)

        rows = audiences.saved(connection, organization_id=organization_id, status="active")

        page = audiences.saved(connection, organization_id=organization_id, limit=2, offset=1)

    assert [second, first] == [row["id"] for row in rows]
    assert [second, first] == [row["id"] for row in page]


def test_a_refresh_says_what_the_table_says():
    """The defaults of a new audience are those of the columns."""
    defaults = dataclasses.asdict(audiences.Refresh())
    row = {"id": uuid4(), "organization_id": uuid4(), "name": "n", "status": "draft", "config": {}}
    with transaction() as connection:
        connection.execute(models.audiences.insert().values(**row, config_hash="0" * 64))

    found = audience_row(row["id"])

    assert {**defaults, "notify_emails": []} == {name: found[name] for name in defaults}
