"""API keys: what is kept of them, and which of them let anybody in."""

import hmac
import time
from uuid import uuid4

import pytest
from builders import MINUTE, NOON, together
from sqlalchemy import select, text

from worker import keys, models
from worker.database import transaction
from worker.errors import NotFound, Refusal


@pytest.fixture(autouse=True)
def _tables(tables):
    """Every test here begins with empty tables."""


def made(organization_id=None, name="dashboard"):
    """Create a key."""
    with transaction() as connection:
        return keys.create(connection, organization_id or uuid4(), name)


def looked_up(key, now=None):
    """Look a key up."""
    with transaction() as connection:
        return keys.look_up(connection, key, now=now)


def row():
    """Return the only key there is."""
    with transaction() as connection:
        return connection.execute(select(models.api_keys)).mappings().one()


def changed_secret(key):
    """Return a key of the same prefix and form with another secret."""
    return key[:-1] + ("B" if key[-1] != "B" else "C")


def test_a_key_speaks_for_its_organization():
    """A key that was created is known, and so is whose it is."""
    mine, theirs = uuid4(), uuid4()
    key, other = made(mine), made(theirs)

    assert (mine, theirs) == (looked_up(key).organization_id, looked_up(other).organization_id)
    assert looked_up(key).key_id != looked_up(other).key_id


def test_only_a_hash_is_kept():
    """Nothing in the row holds any part of the secret."""
    key = made()

    kept = " ".join(str(value) for value in row().values())
    assert [] == [part for part in (key[11:], key[11:19], key[-8:]) if part in kept]
    assert key[3:11] == row()["prefix"]


def test_no_two_keys_are_alike():
    """Keys have the form that clients are told of, and are drawn anew each time."""
    every = [made() for _ in range(20)]

    assert [True] * 20 == [keys.is_formed(key) for key in every]
    assert 20 == len({key[11:] for key in every})


@pytest.mark.parametrize(
    "bend",
    [
        lambda key: "",
        lambda key: key[:-1],
        lambda key: key + "A",
        lambda key: key.replace("sk_", "pk_", 1),
        lambda key: key.upper(),
        lambda key: f" {key}",
        lambda key: f"{key}\n",
        lambda key: key[:11],
        lambda key: key[3:],
        lambda key: f"{key[:-1]}\u0661",
        lambda key: f"{key[:-1]}\x00",
        lambda key: "sk_" + "A" * 51,
        changed_secret,
    ],
    ids=list("abcdefghijklm"),
)
def test_what_is_not_exactly_a_key_is_unknown(bend):
    """One character too few, too many or other than issued, and nobody is let in."""
    assert looked_up(bend(made())) is None
    assert row()["last_used_at"] is None


def test_secrets_are_compared_in_constant_time(monkeypatch):
    """The one comparison of secrets is the standard library's, over digests of one length."""
    compared, compare = [], hmac.compare_digest
    monkeypatch.setattr(
        keys.hmac, "compare_digest", lambda one, other: compared.append((one, other)) or compare(one, other)
    )
    key = made()

    looked_up(key)
    looked_up(changed_secret(key))

    ours = [pair for pair in compared if row()["hash"] in pair]
    assert [(64, 64), (64, 64)] == [(len(one), len(other)) for one, other in ours]


def test_a_revoked_key_lets_nobody_in():
    """From the next request on the key is unknown, and revoking it again changes nothing."""
    key, other = made(), made()
    with transaction() as connection:
        keys.revoke(connection, key[3:11], now=NOON)
    with transaction() as connection:
        keys.revoke(connection, key[3:11], now=NOON + MINUTE)

    assert looked_up(key) is None
    assert looked_up(other) is not None
    with transaction() as connection:
        revoked = {one["prefix"]: one["revoked_at"] for one in keys.saved(connection)}
    assert {key[3:11]: NOON, other[3:11]: None} == revoked


def test_only_a_key_can_be_revoked():
    """What no key begins with is not there, and a whole key given by mistake is not repeated."""
    key = made()
    with transaction() as connection:
        with pytest.raises(NotFound, match="There is no key AAAAAAAA"):
            keys.revoke(connection, "AAAAAAAA")
        with pytest.raises(Refusal, match="8 letters and digits") as refusal:
            keys.revoke(connection, key)

    assert key[11:] not in str(refusal.value)
    assert row()["revoked_at"] is None


@pytest.mark.parametrize("name", ["", "  ", "n" * 101, "a\nb", "a\x00b", "a\u202eb"])
def test_a_name_that_cannot_be_kept_is_refused(name):
    """A name has 1 to 100 printable characters."""
    with pytest.raises(Refusal, match="name: must have 1 to 100 printable characters"):
        made(name=name)


def test_the_last_use_is_noted_once_a_minute():
    """A use within a minute of the one noted writes nothing, a later one does."""
    key = made()
    noted = []
    for now in (NOON, NOON + MINUTE / 2, NOON + MINUTE, NOON + 1.5 * MINUTE):
        looked_up(key, now)
        noted.append(row()["last_used_at"])

    assert [NOON, NOON, NOON, NOON + 1.5 * MINUTE] == noted


def test_of_many_uses_at_once_one_is_noted():
    """Twenty threads that look the same key up at the same moment write its row once."""
    key = made()
    wrote = text("SELECT n_tup_upd FROM pg_stat_xact_user_tables WHERE relname = 'api_keys'")

    def use(engine, _):
        with engine.begin() as connection:
            # What another thread wrote over this connection is counted there for a while.
            before = connection.scalar(wrote)
            assert keys.look_up(connection, key) is not None
            return connection.scalar(wrote) - before

    assert 1 == sum(together(20, use))


def test_whoever_holds_a_key_s_row_holds_up_nobody():
    """A request is let in at once while another session has the row for longer."""
    key = made()
    with transaction() as connection:
        connection.execute(select(models.api_keys).with_for_update())
        begun = time.monotonic()
        known = looked_up(key)
        elapsed = time.monotonic() - begun

    assert known is not None
    assert elapsed < 5, "the lock was waited for"
    assert row()["last_used_at"] is None


def test_keys_are_listed_without_their_hashes():
    """The newest come first, those of one organization or of all, as many as asked for."""
    mine = uuid4()
    prefixes = [made(owner)[3:11] for owner in (mine, uuid4(), mine)]
    with transaction() as connection:
        every, own, one = keys.saved(connection), keys.saved(connection, mine), keys.saved(connection, limit=1)

    assert prefixes[::-1] == [key["prefix"] for key in every]
    assert prefixes[::-2] == [key["prefix"] for key in own]
    assert prefixes[2:] == [key["prefix"] for key in one]
    assert "hash" not in every[0]
