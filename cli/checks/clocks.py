"""Whether the clocks of the stores and of this machine agree."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import text

from cli.checks.verdict import Verdict
from worker import clickhouse
from worker.database import transaction

SKEW_SECONDS: Final = 5.0


def check_clocks() -> Verdict:
    """Compare the clocks of PostgreSQL, ClickHouse and this machine."""
    return apart({"PostgreSQL": _skew(_postgres_time), "ClickHouse": _skew(_clickhouse_time)})


def apart(skews: Mapping[str, float]) -> Verdict:
    """Judge how far clocks are ahead of ours, in seconds, and of each other."""
    told = ", ".join(f"{name} {seconds:+.1f} s" for name, seconds in skews.items())
    values = [0.0, *skews.values()]
    if max(values) - min(values) >= SKEW_SECONDS:
        return Verdict("warning", f"Clocks are apart; seen from here: {told}.", "Let every machine keep time by NTP.")
    return Verdict("ok", f"Clocks agree; seen from here: {told}.")


def _skew(asked: Callable[[], datetime]) -> float:
    """Return how many seconds a server's clock is ahead of ours, the way to it taken into account."""
    before = datetime.now(UTC)
    theirs = asked()
    ours = before + (datetime.now(UTC) - before) / 2
    return (theirs - ours).total_seconds()


def _postgres_time() -> datetime:
    """Return PostgreSQL's time."""
    with transaction() as connection:
        now: datetime = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
    return now


def _clickhouse_time() -> datetime:
    """Return ClickHouse's time."""
    milliseconds = clickhouse.query("SELECT toUnixTimestamp64Milli(now64(3))").rows[0][0]
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
