"""Workers from the command line."""

import json
from datetime import UTC, datetime, timedelta
from importlib.metadata import version

from commandline import done

from worker import presence
from worker.database import transaction


def test_workers_are_listed_with_their_last_sign_of_life(tables):
    """Those seen within a day stand by lane and name, narrowed by lane, with how long ago they were seen."""
    ago = {"daily@b": 90, "daily@a": 30, "manual@c": 7_200, "daily@gone": 90_000}
    with transaction() as connection:
        for name, seconds in ago.items():
            moment = datetime.now(UTC) - timedelta(seconds=seconds)
            presence.seen(connection, name, name.split("@")[0], now=moment)

    rows = json.loads(done("workers", "list", "--json"))
    printed = done("workers", "list", "--lane", "daily", "--within", 100_000)

    assert ["daily@a", "daily@b", "manual@c"] == [row["name"] for row in rows]
    assert {version("audience-worker")} == {row["version"] for row in rows}
    seen = [line.split() for line in printed.splitlines() if "@" in line]
    assert ["daily@a", "daily@b", "daily@gone"] == [words[0] for words in seen]
    assert [True, True, True] == [0 <= int(words[-1].replace(",", "")) - ago[words[0]] < 60 for words in seen]
