"""Requests that race each other and the workers."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import builders
import pytest
from sqlalchemy import func, select

from worker import models, runs
from worker.database import transaction

ROUNDS = 1000


@pytest.fixture
def audience_id(client, organization):
    """An audience of the organization, and a ready day."""
    builders.ready(builders.MONDAY)
    return builders.saved(organization_id=organization)


@pytest.fixture
def path(audience_id):
    """Where the audience's runs are."""
    return f"/v1/intent/audiences/{audience_id}/runs"


@pytest.mark.parametrize("headers", [{"Idempotency-Key": "once"}, {}], ids=["one key", "no key"])
def test_of_many_requests_at_once_one_queues_a_run(client, path, headers):
    """Fifty clients who ask at the same moment get one run, and one of them is told that it is new."""
    start = Barrier(50)

    def ask(_):
        start.wait(timeout=30)
        answer = client.post(path, headers=headers)
        return answer.status_code, answer.json()["data"]["id"]

    with ThreadPoolExecutor(50) as clients:
        answers = list(clients.map(ask, range(50)))

    with transaction() as connection:
        born = connection.scalar(select(func.count()).select_from(models.runs))
    assert (1, {202: 1, 200: 49}) == (born, Counter(status for status, _ in answers))
    assert 1 == len({run_id for _, run_id in answers})


def test_a_cancel_that_races_a_claim_has_one_winner(client, audience_id, path):
    """A thousand times either the run is cancelled and never claimed, or claimed and the cancel is told so."""
    start = Barrier(2)

    def claim(_):
        start.wait(timeout=30)
        return builders.claimed(now=None)

    def cancel(run_id):
        start.wait(timeout=30)
        answer = client.delete(f"{path}/{run_id}")
        return answer.status_code, answer.json().get("error", {}).get("code")

    ended = Counter()
    with ThreadPoolExecutor(2) as racers:
        for _ in range(ROUNDS):
            run_id = builders.queued(audience_id)
            claims, answer = racers.submit(claim, run_id), racers.submit(cancel, run_id)
            ended[builders.run_row(run_id)["status"] if _over(claims, answer, run_id) else "both"] += 1
            for held in claims.result():
                with transaction() as connection:
                    runs.complete(connection, held, builders.published())

    assert (ROUNDS, 0) == (ended["cancelled"] + ended["running"], ended["both"])
    assert min(ended["cancelled"], ended["running"]) > 0, "one side always won: that was no race"


def _over(claims, answer, run_id):
    """Whether exactly one side of a race won, and both know which."""
    won = [held.run_id for held in claims.result()] == [run_id]
    return answer.result() == ((409, "RUN_ALREADY_RUNNING") if won else (200, None))
