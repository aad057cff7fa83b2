"""API keys from the command line."""

import json
from uuid import uuid4

import pytest
from commandline import command, done, sentence

from worker import keys
from worker.database import transaction


@pytest.fixture
def organization(tables):
    """Whose keys these are; every test that asks for it begins with empty tables."""
    return uuid4()


def created(organization, name="dashboard"):
    """Create a key, and return it."""
    return command("keys", "create", "--organization", organization, "--name", name).stdout.strip()


def known(key):
    """Whether a key lets anybody in."""
    with transaction() as connection:
        return keys.look_up(connection, key) is not None


def test_a_key_is_printed_once(organization):
    """The key alone stands on standard output, and the sentence beside it says that it is never shown again."""
    result = command("keys", "create", "--organization", organization, "--name", "dashboard")

    assert (0, "Keep it now: only its hash is stored, so it is never shown again.\n") == (
        result.exit_code,
        result.stderr,
    )
    assert known(result.stdout.strip())
    assert result.stdout.strip()[11:] not in done("keys", "list") + done("keys", "list", "--json")


def test_a_key_is_printed_as_json(organization):
    """A program reads the key off one field."""
    result = command("keys", "create", "--organization", organization, "--name", "dashboard", "--json")

    assert known(json.loads(result.stdout)["key"])


def test_keys_are_listed_for_people(organization):
    """A line a key tells its prefix, name, organization and dates."""
    key = created(organization, "night shift")
    known(key)

    [line] = [line for line in done("keys", "list").splitlines() if key[3:11] in line]

    assert "night shift" in line
    assert str(organization) in line
    assert ("-", 2) == (line.split()[-1], line.count("+00:00")), "created and last used, but not revoked"


def test_a_list_is_narrowed(organization):
    """Only one organization's keys are listed, and no more than asked for."""
    first, _, second = created(organization), created(uuid4()), created(organization)

    def prefixes(*arguments):
        return [key["prefix"] for key in json.loads(done("keys", "list", "--json", *arguments))]

    assert [second[3:11], first[3:11]] == prefixes("--organization", organization)
    assert [second[3:11]] == prefixes("--limit", "1")


def test_a_key_is_revoked_by_its_prefix(organization):
    """It lets nobody in any more, the list tells since when, and once more is harmless."""
    key = created(organization)

    assert "Revoked.\n" == done("keys", "revoke", key[3:11]) == done("keys", "revoke", key[3:11])
    assert not known(key)
    assert json.loads(done("keys", "list", "--json"))[0]["revoked_at"] is not None


def test_what_is_no_key_cannot_be_revoked(organization):
    """An unknown prefix is refused in one sentence, and so is a whole key, which is not repeated."""
    key = created(organization)

    assert "There is no key AAAAAAAA." == sentence(command("keys", "revoke", "AAAAAAAA"))
    refusal = sentence(command("keys", "revoke", key))
    assert "prefix: must be the 8 letters and digits that follow sk_ in a key." == refusal
    assert known(key)


def test_what_cannot_be_kept_is_refused(organization):
    """A name or an organization that cannot be one creates nothing."""
    unnamed = command("keys", "create", "--organization", organization, "--name", " ")
    nobody = command("keys", "create", "--organization", "acme", "--name", "dashboard")

    assert "name: must have 1 to 100 printable characters." == sentence(unnamed)
    assert "'acme' is not a UUID." == sentence(nobody)
    assert [] == json.loads(done("keys", "list", "--json"))


@pytest.mark.parametrize("missing", ["--organization", "--name"])
def test_what_is_left_out_is_named(missing):
    """A key without an organization or a name is a usage error."""
    given = {"--organization": str(uuid4()), "--name": "dashboard"}
    del given[missing]
    result = command("keys", "create", *(word for pair in given.items() for word in pair))

    assert (2, "") == (result.exit_code, result.stdout)
    assert missing in result.stderr
