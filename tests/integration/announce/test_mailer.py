"""SMTP as it is spoken: who is at fault, and whether the message may have arrived."""

import socket
from email.message import EmailMessage

import pytest

from worker import mailer


def message(text="Hello.\n", recipient="zoe@example.com"):
    """Build a message."""
    built = EmailMessage()
    built["From"], built["To"], built["Message-ID"] = "audiences@example.com", recipient, "<m1@example.com>"
    built.set_content(text)
    return built


def send(*, recipient="zoe@example.com", text="Hello.\n", before_data=lambda: None):
    """Send one message through a fresh outbox."""
    with mailer.outbox() as outbox:
        outbox.send(message(text, recipient), recipient, before_data)


def test_the_caller_is_told_between_rcpt_and_data(script):
    """What it commits there stands before the server gets a single word of the text."""
    heard = []

    send(before_data=lambda: heard.extend(script.heard))

    assert [line.split()[0] for line in heard] == ["ehlo", "mail", "rcpt"]
    assert [line.upper() for line in script.heard[3:]] == ["DATA", "QUIT"]
    assert len(script.texts) == 1


def test_we_greet_by_the_senders_domain(script):
    """The name of this machine is not told to anybody."""
    send()

    assert script.heard[0] == "ehlo example.com"


def test_lines_that_begin_with_a_dot_arrive(script):
    """A lone dot does not end the message early."""
    send(text="one\n.\n.two\n")

    assert script.texts[0].endswith("one\r\n..\r\n..two\r\n")


@pytest.mark.parametrize("verb", ["RCPT", "DATA", "TEXT"])
@pytest.mark.parametrize(("reply", "permanent"), [("550 5.1.1 no", True), ("451 4.3.0 later", False)])
def test_a_reply_settles_the_matter(script, verb, reply, permanent):
    """4xx may be tried again, 5xx not, whichever step it answers; only this message is concerned."""
    script.replies[verb] = reply

    with pytest.raises(mailer.NotSent) as refusal:
        send()

    assert (int(reply[:3]), permanent, False) == (refusal.value.code, refusal.value.permanent, refusal.value.everyone)
    assert script.texts == []


@pytest.mark.parametrize(
    ("verb", "reply"),
    [
        ("CONNECT", "554 go away"),
        ("CONNECT", None),
        ("EHLO", None),
        ("MAIL", "550 sender unknown"),
        ("MAIL", None),
        ("RCPT", None),
        ("RCPT", "421 closing"),
        ("DATA", None),
    ],
)
def test_trouble_with_the_server_is_nobodys_fault(script, verb, reply):
    """Before the text is handed over nothing is lost: every message waits."""
    script.replies[verb] = reply

    with pytest.raises(mailer.NotSent) as refusal:
        send()

    assert (refusal.value.permanent, refusal.value.everyone) == (False, True)


def test_a_server_that_is_not_there_is_nobodys_fault(configured):
    """A refused connection is trouble with the server."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    configured(MAIL_URL=f"smtp://127.0.0.1:{port}")

    with pytest.raises(mailer.NotSent) as refusal:
        send()

    assert (refusal.value.code, refusal.value.everyone) == (None, True)


def test_a_line_that_breaks_after_the_text_leaves_it_open(script):
    """Nobody can tell whether the message was taken."""
    script.replies["TEXT"] = None

    with pytest.raises(mailer.Unanswered):
        send()


def test_a_server_that_never_answers_the_text_leaves_it_open(script, configured):
    """Silence after the text is no refusal."""
    configured(MAIL_SECONDS=0.3)
    script.replies["TEXT"] = "250-still thinking"

    with pytest.raises(mailer.Unanswered):
        send()


def test_what_the_caller_raises_keeps_the_text_at_home(script):
    """A claim lost at the last moment ends the conversation without a message."""

    def lost():
        raise LookupError

    with pytest.raises(LookupError):
        send(before_data=lost)

    assert not [line for line in script.heard if line.upper() == "DATA"]


def test_one_connection_serves_many_and_a_broken_one_is_replaced(script):
    """A refusal costs a new connection, a success does not."""
    with mailer.outbox() as outbox:
        for recipient in ("ada@example.com", "bob@example.com"):
            outbox.send(message(recipient=recipient), recipient, lambda: None)
        script.replies["RCPT"] = "550 no"
        with pytest.raises(mailer.NotSent):
            outbox.send(message(), "nobody@example.com", lambda: None)
        del script.replies["RCPT"]
        outbox.send(message(), "zoe@example.com", lambda: None)

    assert [line.split()[0] for line in script.heard].count("ehlo") == 2
    assert len(script.texts) == 3


def test_a_connection_that_went_stale_is_replaced(script):
    """The server may hang up between two messages."""
    with mailer.outbox() as outbox:
        outbox.send(message(), "ada@example.com", lambda: None)
        script.replies["NOOP"] = None
        outbox.send(message(), "bob@example.com", lambda: None)

    assert len(script.texts) == 2


def test_a_login_that_fails_concerns_everybody(script, configured):
    """A wrong password must not fail a single mail for good."""
    script.replies |= {"EHLO": "250-localhost\r\n250 AUTH PLAIN", "AUTH": "535 5.7.8 bad credentials"}
    configured(MAIL_URL=f"smtp://me:s%40cret@127.0.0.1:{script.port}")

    with pytest.raises(mailer.NotSent) as refusal:
        send()

    assert (refusal.value.code, refusal.value.permanent, refusal.value.everyone) == (535, False, True)


def test_mail_does_not_leave_unencrypted_by_itself(script, configured):
    """A server without STARTTLS gets nothing when STARTTLS was asked for."""
    configured(MAIL_TLS="starttls")

    with pytest.raises(mailer.NotSent) as refusal:
        send()

    assert refusal.value.everyone
    assert not [line for line in script.heard if line.startswith("mail")]


def test_tls_that_is_none_is_refused(script, configured):
    """A server that speaks plainly on a TLS port gets nothing."""
    configured(MAIL_TLS="tls")

    with pytest.raises(mailer.NotSent) as refusal:
        send()

    assert refusal.value.everyone


def test_an_address_outside_ascii_needs_a_server_that_takes_it(script):
    """Without SMTPUTF8 there is no way to name the recipient; with it there is."""
    with pytest.raises(mailer.NotSent) as refusal:
        send(recipient="zoë@example.com")
    script.replies["EHLO"] = "250-localhost\r\n250 SMTPUTF8"
    send(recipient="zoë@example.com")

    assert refusal.value.permanent
    assert "rcpt TO:<zoë@example.com>" in script.heard
    assert "To: zoë@example.com" in script.texts[0]


def test_replies_are_kept_without_addresses(script):
    """Mail and network addresses are masked, control characters gone, the length bounded."""
    script.replies["RCPT"] = "550 <zoe@example.com> unknown at mx1 [10.1.2.3]\x07 " + "x" * 500

    with pytest.raises(mailer.NotSent) as refusal:
        send()

    assert refusal.value.reply.startswith("<…> unknown at mx1 … x")
    assert len(refusal.value.reply) <= 300


def test_a_folder_gets_one_file_a_message(configured, tmp_path):
    """The file is whole, named by its Message-ID, and only there once the caller was told."""
    folder = tmp_path / "mails"
    configured(MAIL_URL=f"file://{folder}")
    before = []

    send(before_data=lambda: before.extend(folder.glob("*.eml")))

    assert [] == before
    assert [file.name for file in folder.iterdir()] == ["m1@example.com.eml"]
    assert "Hello." in (folder / "m1@example.com.eml").read_text()


def test_a_folder_that_cannot_be_written_concerns_everybody(configured, tmp_path):
    """A file stands where the folder should."""
    (tmp_path / "mails").write_text("")
    configured(MAIL_URL=f"file://{tmp_path}/mails")

    with pytest.raises(mailer.NotSent) as refusal:
        send()

    assert refusal.value.everyone


def test_a_folder_keeps_nothing_of_what_was_stopped(configured, tmp_path):
    """What the caller raises leaves no file, not even half of one."""
    configured(MAIL_URL=f"file://{tmp_path}/mails")

    def lost():
        raise LookupError

    with pytest.raises(LookupError):
        send(before_data=lost)

    assert list((tmp_path / "mails").iterdir()) == []
