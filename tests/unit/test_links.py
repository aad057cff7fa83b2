"""Signed links: who made them, for what, and until when."""

from base64 import urlsafe_b64decode
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from worker.links import Link, Purpose, reader, reads, sign, verify

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
KEYS = ("n" * 32, "o" * 32)
LINK = Link(UUID(int=7), UUID(int=8), NOW + timedelta(days=7))
TOKEN = sign(Purpose.DOWNLOAD, LINK, KEYS)


def test_a_token_says_again_what_was_signed():
    """Thing, reader and expiry come back, and the token may stand in a path."""
    assert verify(Purpose.DOWNLOAD, TOKEN, KEYS) == LINK
    assert TOKEN.replace("-", "").replace("_", "").replace(".", "").isalnum()


def test_a_token_outlives_the_rotation_of_its_key():
    """A key that is no longer the newest still verifies; one that is gone does not."""
    old = sign(Purpose.DOWNLOAD, LINK, KEYS[1:])

    assert verify(Purpose.DOWNLOAD, old, KEYS) == LINK
    assert verify(Purpose.DOWNLOAD, old, KEYS[:1]) is None


@pytest.mark.parametrize("signed", Purpose)
def test_a_token_is_good_for_one_purpose(signed):
    """A download link does not unsubscribe, nor any other way round."""
    token = sign(signed, LINK, KEYS)

    assert [signed] == [purpose for purpose in Purpose if verify(purpose, token, KEYS)]


def test_no_changed_character_goes_unnoticed():
    """Every single character of a token matters."""
    changed = [TOKEN[:at] + ("A" if old != "A" else "B") + TOKEN[at + 1 :] for at, old in enumerate(TOKEN)]

    assert {None} == {verify(Purpose.DOWNLOAD, token, KEYS) for token in changed}


@pytest.mark.parametrize("token", ["", ".", "a", "a.b.c", "ü.ü", TOKEN + "=", TOKEN + "\n", TOKEN.split(".")[0] + "."])
def test_what_is_no_token_is_refused_quietly(token):
    """Whatever stands in the path, the answer is no and never an exception."""
    assert verify(Purpose.DOWNLOAD, token, KEYS) is None


def test_a_token_holds_ids_and_a_time_and_nothing_else():
    """Whoever reads a link learns nothing about a person."""
    body = urlsafe_b64decode(TOKEN.split(".")[0] + "==")

    expected = LINK.thing_id.bytes + LINK.reader_id.bytes + int(LINK.expires_at.timestamp()).to_bytes(8, "big")
    assert expected == body


def test_a_reader_is_known_by_address_and_audience():
    """Neither another address, nor the same one spelled in other letters, nor another audience's link is meant."""
    link = Link(UUID(int=7), reader(UUID(int=7), "ann@example.com", KEYS[1]), NOW)

    assert reads(link, "ann@example.com", KEYS)
    assert not reads(link, "Ann@example.com", KEYS)
    assert not reads(link, "bob@example.com", KEYS)
    assert not reads(link, "ann@example.com", KEYS[:1])
    assert not reads(Link(UUID(int=8), link.reader_id, NOW), "ann@example.com", KEYS)
