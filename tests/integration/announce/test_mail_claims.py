"""Mails among workers that race, die and leave: sent once, and never blindly a second time."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from worker import emails, errors, mailer, snapshots
from worker.database import transaction

BOTH = ("ada@example.com", "bob@example.com")
EIGHT = tuple(f"r{number}@example.com" for number in range(8))


def claim(wanted=20, worker="w"):
    """Take due mails."""
    with transaction() as connection:
        return emails.claim(connection, worker, wanted=wanted, lease_seconds=60)


def settle(held, status, **options):
    """End one mail."""
    with transaction() as connection:
        emails.settle(connection, held, status, **options)


def test_a_worker_killed_before_the_text_loses_nothing(completed, mailbox, work, rescue_later):
    """The expired claim goes back in line under a new fence, and the mail is sent once."""
    run = completed(1, recipients=BOTH[:1]).give_file_up()
    (late,) = claim(worker="killed")

    assert rescue_later()["mails_retried"] == 1
    run.change_mails(due_at=datetime.now(UTC))
    work()
    assert run.statuses() == ["sent"]
    with pytest.raises(errors.ClaimLost), transaction() as connection:
        emails.sending(connection, late, seconds=60)
    assert len(mailbox()) == 1


def test_a_worker_killed_during_the_text_leaves_it_open(completed, mailbox, work, rescue_later):
    """An expired sending is unknown, and the run says so."""
    run = completed(1, recipients=BOTH[:1]).give_file_up()
    (held,) = claim(worker="killed")
    with transaction() as connection:
        emails.sending(connection, held, seconds=60)

    assert rescue_later()["mails_unknown"] == 1
    run.change_mails(due_at=datetime.now(UTC))
    work()
    assert (run.statuses(), run.told()[2]) == (["unknown"], emails.UNKNOWN)
    assert mailbox() == []


def test_mails_that_lose_their_workers_again_and_again_come_back_apart(completed, rescue_later):
    """After the first loss they are due at once; later each waits for a time of its own, so that one harms no other."""
    run = completed(1, recipients=EIGHT).give_file_up()
    waits = []
    for _ in range(3):
        run.change_mails(due_at=datetime.now(UTC), lease_expires_at=None)
        claim(worker="killed")
        rescue_later()
        waits.append([(mail["due_at"] - mail["updated_at"]).total_seconds() for mail in run.mails()])

    assert [0] * 8 == waits[0]
    assert [8, 8] == [len(set(apart)) for apart in waits[1:]]
    assert 0 <= min(waits[1]) <= max(waits[1]) <= 120
    assert 0 <= min(waits[2]) <= max(waits[2]) <= 240


def test_a_mail_that_loses_its_workers_for_a_day_is_given_up(completed, rescue_later):
    """Whatever kills whoever sends it ends with the patience that refusals have, and the run says so."""
    run = completed(1, recipients=BOTH[:1]).give_file_up()
    claim(worker="killed")
    run.change_mails(created_at=datetime.now(UTC) - timedelta(hours=24))

    rescued = rescue_later()

    assert (1, ["failed"]) == (rescued["mails_failed"], run.statuses())
    assert errors.WorkerLost().sentence == run.told()[2]


def test_the_sender_knows_better_than_the_rescuer(completed, rescue_later):
    """Who was only slow, and did send it, corrects what the rescuer could not know."""
    run = completed(1, recipients=BOTH[:1]).give_file_up()
    (held,) = claim(worker="slow")
    with transaction() as connection:
        emails.sending(connection, held, seconds=60)
    rescue_later()
    settle(held, "sent")

    assert run.statuses() == ["sent"]
    assert run.told()[2] is None


def test_renewed_mails_are_not_rescued(completed, rescue_later):
    """A heartbeat keeps the rescuer away, and stops when nothing is left to keep."""
    completed(1, recipients=BOTH).give_file_up()
    held = claim()
    with transaction() as connection:
        assert emails.renew(connection, held, seconds=7200)

    assert set(rescue_later().values()) == {0}
    for one in held:
        settle(one, "sent")
    with transaction() as connection:
        assert not emails.renew(connection, held, seconds=7200)


def test_of_two_last_mails_the_second_settles_the_run(completed):
    """Two workers ending at once: one of them sees that nothing is on its way any more."""
    run = completed(1, recipients=EIGHT).give_file_up()
    held = claim()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda one: settle(one, "sent"), held))

    assert max(mail["sent_at"] for mail in run.mails()) == run.told()[0]


def test_two_sessions_never_take_one_mail(completed):
    """The second steps over what the first has locked, and a claim takes the number it asked for."""
    completed(1, recipients=EIGHT).give_file_up()
    with transaction() as one, transaction() as other:
        taken = [emails.claim(session, "w", wanted=5, lease_seconds=60) for session in (one, other)]

    assert [5, 3] == [len(claims) for claims in taken]
    assert len({mail.mail_id for claims in taken for mail in claims}) == 8


def test_a_process_that_leaves_hands_back_what_it_has_not_begun(completed, script, work):
    """After the mail in hand it stops; the others are due at once and have lost no attempt."""
    run = completed(1, recipients=BOTH)
    leaving = []
    script.before["TEXT"] = lambda: leaving.append(True)

    done = work(stopping=lambda: bool(leaving))
    assert done["mails_sent"] == 1
    assert [(0, None), (1, None)] == sorted((mail["attempts"], mail["claimed_by"]) for mail in run.mails())


def test_clickhouse_being_down_postpones_the_mail(completed, monkeypatch, script, work):
    """Without its counts the mail is not sent, and the others wait as well."""
    run = completed(1, recipients=BOTH)

    def down(*_, **__):
        raise errors.ClickHouseUnavailable

    monkeypatch.setattr(snapshots, "summary", down)
    done = work()

    assert done["mails_retried"] == 1
    assert run.statuses() == ["pending", "pending"]
    assert script.heard == []


@pytest.mark.parametrize(("step", "status"), [("_envelope", "pending"), ("_deliver", "unknown")])
def test_a_bug_of_ours_is_survived(completed, script, monkeypatch, step, status, work):
    """Before the hand-over the mail is postponed, after it nobody can tell; the process goes on either way."""
    run = completed(1, recipients=BOTH)
    monkeypatch.setattr(mailer.Server, step, lambda *_: 1 / 0)
    done = work()

    assert run.statuses() == [status, status]
    assert set(done) == {"exports_completed", f"mails_{status.replace('pending', 'retried')}", "more", "seconds"}


def test_losing_the_claim_ends_the_conversation(completed, script, work, rescue_later):
    """Somebody else holds the mail by now: no text leaves, nothing is written."""
    run = completed(1, recipients=BOTH[:1])
    script.before["RCPT"] = rescue_later
    done = work()

    assert (done["mails_lost"], script.texts) == (1, [])
    assert run.statuses() == ["pending"]


def test_mails_are_listed_by_organization_and_run(completed):
    """Another organization's mails are not among them."""
    run, other = completed(1, recipients=BOTH), completed(1, recipients=BOTH[:1])
    with transaction() as connection:
        of_one = emails.latest(connection, organization_id=run.organization_id)
        of_all = emails.latest(connection, limit=2)

    assert {run.run_id} == {mail["run_id"] for mail in of_one}
    assert (len(of_one), len(of_all), len(other.mails())) == (2, 2, 1)


def test_a_slow_server_does_not_cost_the_claim(completed, script, work, configured):
    """The heartbeat renews what is waiting and what is on its way."""
    configured(LEASE_SECONDS=1, LEASE_MARGIN_SECONDS=0.2)
    run = completed(1, recipients=BOTH)

    def renewed():
        first = [mail["lease_expires_at"] for mail in run.mails()]
        while [mail["lease_expires_at"] for mail in run.mails()] == first:
            threading.Event().wait(0.05)

    script.before["TEXT"] = renewed

    assert work()["mails_sent"] == 2
