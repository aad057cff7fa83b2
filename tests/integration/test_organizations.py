"""The brake on an organization: what it may claim, and what it keeps nobody else from."""

import json
from uuid import UUID, uuid4

import pytest
from builders import MINUTE, NOON, claimed, everything, many_queued, saved
from commandline import command, done, sentence

from worker import audit, figures, runs
from worker.database import transaction

HOG, MODEST = UUID(int=1), UUID(int=2)


@pytest.fixture(autouse=True)
def _tables(tables):
    """Two organizations, one of them with ten times the work."""
    many_queued(saved(organization_id=HOG), 20)
    many_queued(saved(organization_id=MODEST), 2)


def limited(*how):
    """Limit the hog from the command line, as Ann."""
    return done("organizations", "limit", HOG, *how, "--by", "ann")


def owners(wanted=10, **ceilings):
    """Claim run after run, each alone, and return whose they are."""
    return [claim.organization_id for _ in range(wanted) for claim in claimed(**ceilings)]


def due():
    """Count what is due in the manual lane a minute later, as bells and metrics see it, and the age of the oldest."""
    with transaction() as connection:
        rung = runs.due(connection, limit=100, now=NOON + MINUTE)["manual"]
    with transaction() as connection:
        found = figures.read(connection, now=NOON + MINUTE)
    return rung, found["due", "manual", ""], found["due_seconds", "manual", ""]


def test_a_limit_holds_even_where_nobody_else_waits():
    """The hog gets its one, the other all of its own, and after that nobody anything."""
    assert "Limited to 1 in each lane.\n" == limited("--statements", 1)

    first, second = sorted(owners()), owners()

    assert [HOG, MODEST, MODEST] == first
    assert [] == second


def test_a_limit_that_was_taken_away_holds_no_more():
    """A paused organization starts nothing and rings for nothing until then."""
    assert "Paused.\n" == limited("--pause")
    assert [MODEST, MODEST] == owners()
    paused = due()

    assert "Its limit is gone.\n" == limited("--none")

    assert [(0, 0, 0), (20, 20, 60)] == [paused, due()]
    assert [HOG] * 10 == owners()


def test_whom_an_operator_has_stopped_keeps_nobody_at_the_share():
    """Work that may not start is no reason to leave places empty."""
    limited("--pause")

    assert [MODEST, MODEST] == owners(organization_max=1)


def test_runs_under_way_count_against_a_new_limit():
    """Of the six that were claimed before four are the hog's; a limit of five leaves it one more."""
    assert [HOG] * 4 + [MODEST] * 2 == sorted(owners(6))

    limited("--statements", 4)
    at_its_limit = owners()
    limited("--statements", 5)

    assert ([], [HOG]) == (at_its_limit, owners())


def test_an_operator_sees_who_hogs_and_who_did_what():
    """The busiest stands first, with what it has running and due and what it may have; each change is in the audit."""
    limited("--statements", 3)
    owners()

    listed = json.loads(done("organizations", "list", "--json"))

    expected = [(str(HOG), 3, 17, 3), (str(MODEST), 2, 0, None)]
    assert expected == [(one["organization_id"], one["running"], one["due"], one["most"]) for one in listed]
    [line] = [line for line in done("organizations", "list").splitlines() if str(HOG) in line]
    assert [str(HOG), "3", "17", "3"] == line.split()
    limited("--pause")
    limited("--none")
    with transaction() as connection:
        lines = [(line["who"], line["verb"]) for line in audit.latest(connection, thing=str(HOG))]
    verbs = ("--none", "--pause", "--statements 3")
    assert [("ann", f"organizations limit {verb}") for verb in verbs] == lines


def test_a_limit_that_cannot_be_is_refused():
    """Two wishes at once, none, an organization nobody knows and a limit that is not there change nothing."""
    before, nobody = everything(), uuid4()

    wishes = "Give one of --statements, --pause and --none."
    assert [wishes, wishes] == [refused(HOG), refused(HOG, "--pause", "--none")]
    assert f"There is no audience of organization {nobody}." == refused(nobody, "--pause")
    assert f"Organization {HOG} has no limit." == refused(HOG, "--none")
    assert 2 == command("organizations", "limit", HOG, "--statements", "0").exit_code
    assert before == everything()


def refused(*arguments):
    """Ask for a limit that must be refused, and return its one sentence."""
    return sentence(command("organizations", "limit", *arguments))
