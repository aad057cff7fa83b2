"""From three files of one's own to a completed run, by the commands of the README."""

import csv
import io
import json
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from uuid import UUID

import oracle
import polars as pl
import pytest
from sqlalchemy import select

from local.programs import Programs
from worker import models
from worker.database import transaction

DAY = datetime.now(UTC).date() - timedelta(days=1)
COMMAND = str(Path(sys.executable).parent / "audience-worker")
SENIORITY = ["director", "VP", "c_suite", "manager", None]
TITLES = ["Director of Marketing", "chief marketing officer", "Engineer", "Head of MARKETING", None]
CONFIG = {
    "topicIds": [4, 12, 40],
    "minScore": 60,
    "filters": {
        "role.seniority": {"values": ["director", "vp", "c_suite"]},
        "jobTitle.include": {"values": ["marketing"], "operator": "contains", "mode": "any"},
        "contact.hasBusinessEmail": True,
    },
}
FAST = {"RING_SECONDS": "1", "QUEUE_SECONDS": "1", "WATCH_SECONDS": "1", "MANUAL_CONCURRENCY": "1"}


def _hashed(number: int) -> str:
    return sha256(f"person-{number}".encode()).hexdigest()


@pytest.fixture(scope="module")
def frames():
    """Two thousand people, nine thousand signals of which some belong to nobody, three topics."""
    people = pl.DataFrame(
        {
            "hashed_email": [_hashed(number) for number in range(2000)],
            "first_name": [f"Ann {number}" for number in range(2000)],
            "seniority": [SENIORITY[number % 5] for number in range(2000)],
            "job_title": [TITLES[number * 7 // 3 % 5] for number in range(2000)],
            "business_email": [f"p{number}@example.com" if number % 3 else None for number in range(2000)],
        }
    )
    signals = pl.DataFrame(
        {
            "data_date": [DAY] * 9000,
            "topic_id": [(4, 12, 40)[number % 3] for number in range(9000)],
            "hashed_email": [_hashed(number * 11 % 2300) for number in range(9000)],
            "score": [50 + number * 17 % 50 for number in range(9000)],
        }
    )
    topics = pl.DataFrame(
        {
            "topic_id": [4, 12, 40],
            "name": ["Four", "Twelve, with a comma", 'Forty "quoted"'],
            "type": ["b2b", None, "b2b"],
            "industry": ["Marketing", "Sales", None],
            "category": ["Technology", "Technology", "Finance"],
        }
    )
    return {"people": people, "signals": signals, "topics": topics}


@pytest.fixture
def said(stores, tmp_path):
    """Run one command of the README, as a process, and return what it printed."""

    def run(*arguments: object) -> str:
        done = subprocess.run(
            [COMMAND, *map(str, arguments)],
            env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), **stores.environment, **FAST},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert 0 == done.returncode, done.stderr
        return done.stdout.strip()

    return run


def test_three_files_become_a_csv(stores, said, frames, tmp_path):
    """Parquet files of another tool are loaded, made ready, asked for, run and stored as the oracle says."""
    for name, frame in frames.items():
        frame.write_parquet(tmp_path / f"{name}.parquet")
        said("data", "load", name, tmp_path / f"{name}.parquet")
    said("data", "ready", DAY)
    (tmp_path / "audience.json").write_text(json.dumps(CONFIG))
    said("audiences", "check", tmp_path / "audience.json")
    audience_id = said(
        "audiences", "add", tmp_path / "audience.json", "--organization", UUID(int=1), "--name", "Marketing leads"
    )
    with Programs(tmp_path / "logs", {**stores.environment, **FAST}) as programs:
        programs.start(["control", "beat", "manual", "announce"])
        _awaited_day(said)
        run_id = said("runs", "queue", audience_id)
        said("runs", "watch", run_id)
        stored = _stored(stores, UUID(run_id))

    candidates, expected = oracle.run(CONFIG, DAY, **frames)
    with transaction() as connection:
        run = connection.execute(select(models.runs).where(models.runs.c.id == UUID(run_id))).mappings().one()
    rows = list(csv.DictReader(io.StringIO(stored.read_bytes().decode())))
    assert (candidates, len(expected)) == (run["candidate_count"], run["result_count"])
    assert len(expected) > 100
    assert [(row["hashed_email"], str(row["score"]), str(row["topic_overlap"]), _topics(row)) for row in expected] == [
        (row["hashedEmail"], row["intent.score"], row["intent.topicOverlap"], json.loads(row["intent.matchedTopics"]))
        for row in rows
    ]


def _topics(row: dict) -> list[dict]:
    """The oracle's matched topics as the CSV spells them."""
    spelled = {
        "topic_id": "topicId",
        "name": "topicName",
        "type": "type",
        "industry": "industry",
        "category": "category",
    }
    return [{spelled[key]: value for key, value in topic.items() if key in spelled} for topic in row["matched_topics"]]


def _awaited_day(said) -> None:
    """Wait until the worker's tick has noticed the day."""
    for _ in range(60):
        days = json.loads(said("data", "status", "--json"))["days"]
        if any(day["data_date"] == str(DAY) and day["mirrored"] for day in days):
            return
    pytest.fail(f"{DAY} was not noticed: {days}")


def _stored(stores, run_id: UUID) -> Path:
    """Wait for the run's file, and return it."""
    for _ in range(600):
        with transaction() as connection:
            export = connection.execute(
                select(models.exports.c.status, models.exports.c.file_id).where(
                    models.exports.c.run_id == run_id, models.exports.c.status == "completed"
                )
            ).one_or_none()
        if export:
            return stores.folder / "exports" / export.file_id
        time.sleep(0.1)
    pytest.fail("the file was not stored")
