"""Ready emails: what they say, one a recipient, and what follows from each answer of the server."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from worker import announce, emails, links
from worker.database import transaction

BOTH = ("ada@example.com", "bob@example.com")


def test_each_recipient_gets_one_mail_and_the_run_says_when(completed, mailbox, work):
    """One message a recipient; the run carries the last sending and the export that was linked."""
    run = completed(5, recipients=BOTH)

    done = work()
    nothing = work()

    assert (done["exports_completed"], done["mails_sent"], done["more"]) == (1, 2, False)
    assert {"more": False, "seconds": nothing["seconds"]} == nothing
    assert list(BOTH) == sorted(str(message["To"]) for message in mailbox())
    assert {str(mail["message_id"]) for mail in run.mails()} == {str(message["Message-ID"]) for message in mailbox()}
    assert (max(mail["sent_at"] for mail in run.mails()), run.export()["id"], None) == run.told()


def test_the_mail_counts_its_people_and_links_to_its_export(completed, mailbox, stores, work):
    """The numbers are the snapshot's, the links open this export for this mail, and no person is named."""
    run = completed(5, recipients=BOTH[:1], name="Leaders <3")
    work()

    (message,) = mailbox()
    text = message.get_body(("plain",)).get_content()
    keys = stores.settings().token_ring
    link = re.search(r"https://audiences.example.com/v1/intent/downloads/(\S+)", text)
    stop = re.search(r"<https://audiences.example.com/v1/intent/unsubscribe/(\S+)>", message["List-Unsubscribe"])
    assert link
    assert stop
    assert message["Subject"] == "Leaders <3: 5 people, 4 May 2026"
    assert ["2  Director", "2  VP", "1  Not known"] == re.findall(r"\d  (?:Director|VP|Not known)", text)[:3]
    assert "3  Software" in text
    assert "person " not in text
    file = links.verify(links.Purpose.DOWNLOAD, link[1], keys)
    leave = links.verify(links.Purpose.UNSUBSCRIBE, stop[1], keys)
    assert (file.thing_id, file.reader_id) == (run.export()["id"], run.mails()[0]["id"])
    assert (leave.thing_id, links.reads(leave, BOTH[0], keys)) == (run.audience_id, True)
    assert [6, 364] == [(one.expires_at - datetime.now(UTC)).days for one in (file, leave)]
    assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"


def test_nobody_is_announced_too(completed, mailbox, work):
    """Zero results make a mail of their own."""
    completed(0, recipients=BOTH[:1])
    work()

    assert [message["Subject"] for message in mailbox()] == ["Leaders: nobody matched, 4 May 2026"]


def test_mails_wait_for_the_export_and_go_without_it_when_it_fails(completed, mailbox, work):
    """Nothing is due while the file is being written; a file given up on is owned up to."""
    run = completed(3, recipients=BOTH[:1])
    with transaction() as connection:
        assert emails.due(connection, limit=10) == 0
        assert emails.claim(connection, "w", lease_seconds=60) == []
    run.give_file_up()
    work()

    assert "could not be prepared" in mailbox()[0].get_body(("plain",)).get_content()


def test_the_same_recipient_is_written_to_once(completed, mailbox, work):
    """A doubled address in the list, or a second queueing, makes no second mail."""
    run = completed(1, recipients=(*BOTH, BOTH[0]))
    with transaction() as connection:
        names = {"organization_id": run.organization_id, "run_id": run.run_id}
        queued = [emails.queue(connection, recipients=who, **names) for who in (BOTH, ())]
    work()

    assert queued == [0, 0]
    assert len(mailbox()) == 2


def test_sending_is_committed_between_rcpt_and_the_text(completed, script, work):
    """Until the recipient is accepted the mail is pending, and before the text is taken it is noted as sending."""
    run = completed(1, recipients=BOTH[:1])
    seen = {}
    script.before |= {verb: lambda verb=verb: seen.update({verb: run.statuses()}) for verb in ("RCPT", "DATA", "TEXT")}
    work()

    assert seen == {"RCPT": ["pending"], "DATA": ["sending"], "TEXT": ["sending"]}
    assert run.statuses() == ["sent"]


def test_a_refusal_for_good_fails_the_mail(completed, script, work):
    """The run gets code and sentence; the server's words stay in the row, without addresses."""
    run = completed(1, recipients=BOTH[:1])
    script.replies["RCPT"] = "550 5.1.1 <ada@example.com>: no such user"
    work()

    assert run.statuses() == ["failed"]
    assert run.told() == (None, None, "550 The mail server refused this recipient or message for good.")
    assert run.mails()[0]["error"].splitlines()[1] == "5.1.1 <…>: no such user"


def test_one_refusal_does_not_hide_a_success(completed, script, work):
    """The run says when it was sent, and what went wrong with the rest."""
    run = completed(1, recipients=BOTH)
    script.before["RCPT"] = lambda: script.replies.update(RCPT="550 no" if "ada@" in script.heard[-1] else "250 ok")
    work()

    sent_at, export_id, error = run.told()
    assert run.statuses() == ["failed", "sent"]
    assert (run.mails()[1]["sent_at"], run.export()["id"]) == (sent_at, export_id)
    assert error.startswith("550 ")


def test_a_temporary_refusal_waits_and_keeps_its_message_id(completed, script, work):
    """A minute, then two; the run says nothing until the matter is settled."""
    run = completed(1, recipients=BOTH[:1])
    script.replies["TEXT"] = "451 4.3.0 greylisted"
    work()
    (first,) = run.mails()
    run.change_mails(due_at=datetime.now(UTC))
    work()
    (second,) = run.mails()
    waits = [round((mail["due_at"] - mail["updated_at"]).total_seconds()) for mail in (first, second)]

    assert (waits, run.told()) == ([60, 120], (None, None, None))
    assert (first["status"], second["attempts"]) == ("pending", 2)
    script.replies.clear()
    run.change_mails(due_at=datetime.now(UTC))
    work()
    assert run.statuses() == ["sent"]
    assert f"Message-ID: {first['message_id']}" in script.texts[0]


def test_patience_ends_after_a_day(completed, script, work):
    """A mail whose next attempt would come too late has failed, with what the server said last."""
    run = completed(1, recipients=BOTH[:1])
    run.change_mails(created_at=datetime.now(UTC) - timedelta(hours=24))
    script.replies["RCPT"] = "452 mailbox full"
    work()

    assert run.statuses() == ["failed"]
    assert run.told()[2] == "452 The mail server put the message off."


def test_a_server_that_is_down_closes_the_half(completed, script, work):
    """One mail finds out; the others keep their attempts, and the bell does not ask for another."""
    run = completed(1, recipients=BOTH)
    script.replies["CONNECT"] = None

    done = work()
    assert (done["mails_retried"], done["more"]) == (1, False)
    assert [0, 1] == sorted(mail["attempts"] for mail in run.mails())
    assert {mail["claimed_by"] for mail in run.mails()} == {None}
    assert announce.due() == 1


def test_a_line_that_breaks_after_the_text_is_never_mended_by_a_second_mail(completed, script, work):
    """Nobody knows whether it arrived: the mail says so and stays."""
    run = completed(1, recipients=BOTH[:1])
    script.replies["TEXT"] = None
    work()
    script.replies.clear()
    run.change_mails(due_at=datetime.now(UTC))
    work()

    assert run.statuses() == ["unknown"]
    assert run.told() == (None, None, emails.UNKNOWN)
    assert script.texts == []


UNWANTED = ({"status": "paused"}, {"deleted_at": datetime(2026, 5, 5, tzinfo=UTC)}, {"notify_emails": []})


@pytest.mark.parametrize("change_to", UNWANTED)
def test_nobody_is_told_of_an_audience_that_was_paused_deleted_or_left(completed, script, change_to, work):
    """Its mails are skipped, and no server is bothered."""
    run = completed(1, recipients=BOTH)
    run.change_audience(**change_to)
    done = work()

    assert (done["mails_skipped"], run.statuses()) == (2, ["skipped", "skipped"])
    assert (script.heard, run.told()) == ([], (None, None, None))


@pytest.mark.parametrize("change_to", UNWANTED)
def test_the_last_moment_still_helps(completed, script, change_to, work):
    """Between RCPT and DATA the audience is looked at once more."""
    run = completed(1, recipients=BOTH[:1])
    script.before["RCPT"] = lambda: run.change_audience(**change_to)
    work()

    assert (run.statuses(), script.texts) == (["skipped"], [])
