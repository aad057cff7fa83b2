"""Who is let in by an API key, and what the others are told."""

import builders
import door
import httpx
import pytest
import web
from sqlalchemy import select

from worker import keys, models
from worker.database import transaction

RUNS = "/v1/intent/audiences/8c049a20-3385-42da-b710-0d038eff5812/runs"
KEYS = {
    "nothing": None,
    "an empty header": "",
    "no key": "secret",
    "a prefix": "sk_Ab3dE6gH",
    "a key too short": "sk_Ab3dE6gH" + "x" * 42,
    "a key too long": "sk_Ab3dE6gH" + "x" * 44,
    "an unknown key": "sk_Ab3dE6gH" + "x" * 43,
    "a key beyond ascii": "sk_Ab3dE6gH" + "\u00e9" * 43,
    "a very long key": "sk_" + "x" * 20_000,
}


@pytest.fixture
def nobody(address):
    """A client that shows nothing."""
    with httpx.Client(base_url=address, timeout=30) as client:
        yield client


def asked(client, path=RUNS, **headers):
    """Ask for runs, showing these headers."""
    return client.get(path, headers={name.replace("_", "-"): value.encode() for name, value in headers.items()})


def refusal(answer):
    """Return what an answer tells a caller who is not let in, without its date and its id."""
    told = answer.json()
    assert {"timestamp", "request_id"} == set(told["meta"])
    return answer.status_code, answer.headers["WWW-Authenticate"], told["error"], sorted(answer.headers.keys())


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS.keys())
def test_whoever_shows_no_good_key_is_told_one_thing(nobody, key):
    """Whether nothing was sent, or something malformed or unknown, the answer is the same."""
    told = refusal(asked(nobody, **({} if key is None else {"X_API_Key": key})))

    assert refusal(asked(nobody)) == told
    assert (401, "Bearer", "UNAUTHORIZED") == (told[0], told[1], told[2]["code"])


def test_a_key_is_refused_from_its_revocation_on(nobody):
    """A key that was good a moment ago is answered like one that never was."""
    key = web.key_of()
    before = asked(nobody, X_API_Key=key)
    with transaction() as connection:
        keys.revoke(connection, key[3:11])
    after = asked(nobody, X_API_Key=key)

    assert (404, refusal(asked(nobody))) == (before.status_code, refusal(after))


def test_another_secret_of_a_known_prefix_is_refused(nobody):
    """Knowing the public part of a key is of no use."""
    key = web.key_of()
    guessed = key[:11] + key[11:][::-1]

    assert refusal(asked(nobody)) == refusal(asked(nobody, X_API_Key=guessed))


def test_a_key_reads_its_own_organization_only(nobody, organization):
    """The same path is there for one key and not for another."""
    path = f"/v1/intent/audiences/{builders.saved(organization_id=organization)}/runs"
    told = [asked(nobody, path, X_API_Key=key).status_code for key in (web.key_of(organization), web.key_of())]

    assert [200, 404] == told


def test_a_key_that_is_used_shows_it(nobody):
    """The row of a key tells when it was used last, and a refused one was not."""
    key = web.key_of()
    asked(nobody, X_API_Key=key[:-1] + ("A" if key[-1] != "A" else "B"))
    before = _last_used()
    asked(nobody, X_API_Key=key)

    assert (None, True) == (before, _last_used() is not None)


def test_without_postgres_a_possible_key_is_not_refused(nobody, monkeypatch):
    """While nobody can tell whether a key is good its owner is asked to try again; what cannot be one is refused."""
    key = web.key_of()
    door.point(monkeypatch, DATABASE_URL=door.NOWHERE["DATABASE_URL"])
    down, malformed, nothing = asked(nobody, X_API_Key=key), asked(nobody, X_API_Key=key[:-1]), asked(nobody)

    assert (503, "UNAVAILABLE", "5") == (down.status_code, down.json()["error"]["code"], down.headers["Retry-After"])
    assert [401, 401] == [malformed.status_code, nothing.status_code]


def _last_used():
    """Return when the only key was used last."""
    with transaction() as connection:
        return connection.scalar(select(models.api_keys.c.last_used_at))
