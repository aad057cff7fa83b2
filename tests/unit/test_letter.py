"""The ready email: what it says, and what a hostile name cannot make it say."""

from datetime import UTC, date, datetime, timedelta
from email import message_from_bytes, policy

import pytest

from worker.emails import wait_seconds
from worker.letter import UNUSUAL, Earlier, Letter, compose

NOW = datetime(2026, 5, 5, 6, tzinfo=UTC)
DOWNLOAD = "https://audiences.example.com/v1/intent/downloads/" + "d" * 98
UNSUBSCRIBE = "https://audiences.example.com/v1/intent/unsubscribe/" + "u" * 98


def received(**values):
    """Compose a message, send it through the wire's format and parse it again."""
    said = {
        "audience_name": "Marketing leaders",
        "data_date": date(2026, 5, 4),
        "count": 1234,
        "seniorities": (("c_suite", 900), ("vp", 300), ("", 34)),
        "industries": (("software development", 1234),),
        "download": DOWNLOAD,
        "until": NOW + timedelta(days=7),
        "has_file": True,
        "unsubscribe": UNSUBSCRIBE,
        **values,
    }
    message = compose(
        Letter(**said),
        sender="Audiences <audiences@example.com>",
        recipient="zoe@example.com",
        message_id="<0f3a@example.com>",
        now=NOW,
    )
    return message_from_bytes(message.as_bytes(policy=policy.SMTP), policy=policy.default)


def text(message):
    """The plain part, white space folded."""
    return " ".join(message.get_body(("plain",)).get_content().split())


def html(message):
    """The HTML part."""
    return message.get_body(("html",)).get_content()


def test_the_mail_says_who_when_how_many_and_where():
    """Both parts carry the audience, the data date, the counts and the link."""
    message = received()

    words = ("Marketing leaders", "4 May 2026", "1,234", "C-suite", "VP", "Not known", "Software development")
    for said in (text(message), html(message)):
        assert [] == [word for word in (*words, DOWNLOAD, UNSUBSCRIBE, "12 May 2026") if word not in said]


def test_the_headers_name_one_recipient_and_stay_as_they_were_given():
    """Long links are neither broken nor encoded: mail readers look for them as they are."""
    message = received()

    expected = ["zoe@example.com", "<0f3a@example.com>", f"<{UNSUBSCRIBE}>", "List-Unsubscribe=One-Click"]
    names = ("To", "Message-ID", "List-Unsubscribe", "List-Unsubscribe-Post")
    assert expected == [message[name] for name in names]
    assert message["Subject"] == "Marketing leaders: 1,234 people, 4 May 2026"
    assert message["Date"].datetime == NOW


@pytest.mark.parametrize("end", ["\r\n", "\n", "\r", "\x0b", "\x85", "\u2028"])
def test_a_name_cannot_add_a_header(end):
    """Line breaks of every kind become spaces."""
    message = received(audience_name=f"Leaders{end}Bcc: everybody@example.com")

    assert message["Bcc"] is None
    assert message["Subject"].startswith("Leaders Bcc: everybody@example.com: 1,234")


def test_a_name_is_text_in_html_and_never_a_template():
    """Tags are escaped, template marks are shown as they are."""
    message = received(audience_name="<script>alert(1)</script> {{ 7 * 7 }}")

    assert "<script>" not in html(message)
    assert "&lt;script&gt;" in html(message)
    assert "{{ 7 * 7 }}" in html(message)
    assert "<script>alert(1)</script> {{ 7 * 7 }}" in text(message)


def test_names_outside_ascii_arrive():
    """The message is ASCII on the wire, and whole again where it is read."""
    message = received(audience_name="Führungskräfte 名前 🙂")

    assert message["Subject"].startswith("Führungskräfte 名前 🙂: ")
    assert "Führungskräfte 名前 🙂" in text(message)


def test_nobody_is_said_kindly():
    """Without results there is neither a breakdown nor a link to an empty file."""
    message = received(count=0, seniorities=(), industries=())

    assert message["Subject"] == "Marketing leaders: nobody matched, 4 May 2026"
    for said in (text(message), html(message)):
        assert "Nobody matched this time" in said
        assert DOWNLOAD not in said
        assert UNSUBSCRIBE in said


def test_one_person_is_not_a_people():
    """The singular is spelled as such."""
    message = received(count=1, seniorities=(("vp", 1),), industries=())

    assert message["Subject"] == "Marketing leaders: 1 person, 4 May 2026"
    assert "1 person is researching your topics and fits" in text(message)


def test_a_missing_file_is_owned_up_to():
    """Where the export failed, the mail says so instead of leading nowhere."""
    message = received(has_file=False)

    for said in (text(message), html(message)):
        assert DOWNLOAD not in said
        assert "could not be prepared" in said


@pytest.mark.parametrize(
    ("new", "left", "words"),
    [
        (1234, 5678, "1,234 people are new and 5,678 have left since the list of 3 May 2026."),
        (1, 1, "1 person is new and 1 has left since"),
        (0, 0, "Nobody is new and nobody has left since"),
        (None, None, None),
    ],
)
def test_what_changed_is_said_where_it_is_known(new, left, words):
    """Both parts carry the sentence; where nobody could count, neither says a word."""
    message = received(earlier=Earlier(date(2026, 5, 3), 5000, new, left, None))

    for said in (text(message), html(message)):
        assert (words in said) if words else ("since the list" not in said)


@pytest.mark.parametrize("count", [0, 1234])
@pytest.mark.parametrize("anomaly", UNUSUAL)
def test_an_anomaly_is_owned_up_to(count, anomaly):
    """The reader learns in plain words what is strange, beside a full list and instead of kind words for an empty one."""
    message = received(count=count, earlier=Earlier(date(2026, 5, 3), 12345, None, None, anomaly))

    words = UNUSUAL[anomaly].format(day="3 May 2026", people="12,345 people")
    for said in (text(message), html(message)):
        assert words in said
        assert "quiet days" not in said


def test_waits_double_from_a_minute_to_an_hour():
    """Refused mails come back ever more slowly, and never overflow."""
    assert [wait_seconds(attempts) for attempts in (1, 2, 3, 6, 7, 2000)] == [60, 120, 240, 1920, 3600, 3600]
