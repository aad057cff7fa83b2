"""Signed links: who made them, for what, and until when."""

from base64 import urlsafe_b64decode
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from worker.links import Link, Purpose, sign, verify

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
KEYS = ("n" * 32, "o" * 32)
LINK = Link(UUID(int=7), UUID(int=8), NOW + timedelta(days=7))
TOKEN = sign(Purpose.DOWNLOAD, LINK, KEYS)


def test_a_token_says_again_what_was_signed():
    """Export, mail and expiry come back, and the token may stand in a path."""
    assert verify(Purpose.DOWNLOAD, TOKEN, KEYS, NOW) == LINK
    assert TOKEN.replace("-", "").replace("_", "").replace(".", "").isalnum()


def test_a_token_outlives_the_rotation_of_its_key():
    """A key that is no longer the newest still verifies; one that is gone does not."""
    old = sign(Purpose.DOWNLOAD, LINK, KEYS[1:])

    assert verify(Purpose.DOWNLOAD, old, KEYS, NOW) == LINK
    assert verify(Purpose.DOWNLOAD, old, KEYS[:1], NOW) is None


def test_a_token_is_good_for_one_purpose():
    """A download link does not unsubscribe, nor the other way round."""
    assert verify(Purpose.UNSUBSCRIBE, TOKEN, KEYS, NOW) is None


def test_a_token_is_over_at_its_expiry():
    """One second before it is good, at the second it is not."""
    assert verify(Purpose.DOWNLOAD, TOKEN, KEYS, LINK.expires_at - timedelta(seconds=1)) == LINK
    assert verify(Purpose.DOWNLOAD, TOKEN, KEYS, LINK.expires_at) is None


def test_no_changed_character_goes_unnoticed():
    """Every single character of a token matters."""
    changed = [TOKEN[:at] + ("A" if old != "A" else "B") + TOKEN[at + 1 :] for at, old in enumerate(TOKEN)]

    assert {None} == {verify(Purpose.DOWNLOAD, token, KEYS, NOW) for token in changed}


@pytest.mark.parametrize("token", ["", ".", "a", "a.b.c", "ü.ü", TOKEN + "=", TOKEN + "\n", TOKEN.split(".")[0] + "."])
def test_what_is_no_token_is_refused_quietly(token):
    """Whatever stands in the path, the answer is no and never an exception."""
    assert verify(Purpose.DOWNLOAD, token, KEYS, NOW) is None


def test_a_token_holds_ids_and_a_time_and_nothing_else():
    """Whoever reads a link learns nothing about a person."""
    body = urlsafe_b64decode(TOKEN.split(".")[0] + "==")

    expected = LINK.export_id.bytes + LINK.mail_id.bytes + int(LINK.expires_at.timestamp()).to_bytes(8, "big")
    assert expected == body
