"""``audience-worker doctor``: one line a check, each with what to do about it."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Final

import typer
from sqlalchemy.exc import SQLAlchemyError

from cli import output
from cli.arguments import AsJson
from cli.checks import CHECKS, Verdict
from cli.output import ExitCode
from worker.errors import (
    AttemptError,
    ClickHouseMisconfigured,
    ClickHouseUnavailable,
    InvalidSetting,
    StorageMisconfigured,
    StorageUnavailable,
)

REMEDIES: Final[Mapping[type[AttemptError], str]] = {
    ClickHouseUnavailable: "Check that ClickHouse runs, and host and port in CLICKHOUSE_URL.",
    ClickHouseMisconfigured: "Check database, user and password in CLICKHOUSE_URL, then run: audience-worker migrate",
    StorageUnavailable: "Check that the storage can be reached and written, and STORAGE_URL.",
    StorageMisconfigured: "Check STORAGE_URL and its keys, and that they may write.",
}


def doctor(as_json: AsJson = False) -> None:
    """Check settings, servers, data and workers, and say what to do; exit code 1 when there is a problem."""
    found = {}
    for name, check in CHECKS.items():
        found[name] = examined(name, check)
        if not as_json:
            _say(name, found[name])
    if as_json:
        output.show_json([{"check": name, **asdict(verdict)} for name, verdict in found.items()])
    if any(verdict.state == "problem" for verdict in found.values()):
        raise typer.Exit(ExitCode.FAILED)


def examined(name: str, check: Callable[[], Verdict]) -> Verdict:
    """Make one check, whatever comes of it: one dead server must hide nothing about the others."""
    try:
        return check()
    except InvalidSetting as error:
        if name == "settings":
            return Verdict("problem", f"{error}.", "Set this environment variable.")
        return Verdict("problem", "This cannot be checked yet.", "Mend the settings first.")
    except AttemptError as error:
        return Verdict("problem", error.sentence, REMEDIES.get(type(error), "Look at this server's log."))
    except SQLAlchemyError:
        return Verdict(
            "problem", "PostgreSQL does not answer.", "Check that it runs and is migrated, and DATABASE_URL."
        )
    except Exception as error:  # noqa: BLE001 - see above
        return Verdict("problem", f"This could not be checked ({type(error).__name__}).", "Check the settings.")


def _say(name: str, verdict: Verdict) -> None:
    """Print a verdict and its remedy."""
    remedy = f" {verdict.remedy}" if verdict.remedy else ""
    output.say(f"{verdict.state:8} {name:11} {verdict.says}{remedy}")
