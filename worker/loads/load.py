"""
Load files: check their columns, stage and check their rows, replace the day or the table in one step.

Nothing is replaced before every file has passed every rule.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

from worker import settings
from worker.errors import Refusal
from worker.loads import ready, staging, tables
from worker.loads.columns import DATASETS, Dataset
from worker.loads.files import Progress, source

# How many keys name more than one row; the typed table is sorted by the grouped column, so that memory stays small.
REPEATED: Final = "SELECT count() FROM (SELECT $sorted FROM $typed GROUP BY $sorted HAVING count() > 1)"

# The days that were loaded, with their rows.
DAYS: Final = "SELECT data_date, count() FROM $typed GROUP BY data_date ORDER BY data_date"


@dataclass(frozen=True, slots=True)
class LoadedDay:
    """
    One day that was replaced.

    :param version: its new version where it was ready before and so stays; None where it waits to be made ready
    """

    data_date: date
    rows: int
    version: int | None


@dataclass(frozen=True, slots=True)
class Loaded:
    """What was replaced: the days of signals, or all people or topics; ``version`` is that of :class:`LoadedDay`."""

    dataset: str
    rows: int
    days: tuple[LoadedDay, ...] = ()
    version: int | None = None


def load(dataset: str, paths: Sequence[Path], progress: Progress) -> Loaded:
    """
    Replace the days that the files hold, or all people or topics.

    What was ready before stays so under a higher version, by which a run that reads it meanwhile notices.

    :param dataset: ``people``, ``signals`` or ``topics``
    :param paths: Parquet or CSV files, together one load
    :param progress: told a file, its bytes sent and its bytes
    :raises Refusal: naming the file, the column and the rule; nothing was replaced
    :raises AttemptError: named by what went wrong in ClickHouse
    """
    _refuse_cluster()
    wanted = DATASETS[dataset]
    sources = [source(path) for path in paths]
    with tables.prefixed() as prefix:
        chosen = [staging.columns(wanted, file, f"{prefix}_footer") for file in sources]
        typed = f"{prefix}_typed"
        tables.run("CREATE TABLE $typed AS $table", {"typed": typed, "table": wanted.table})
        rows = sum(
            staging.copy(wanted, file, columns, prefix, progress) for file, columns in zip(sources, chosen, strict=True)
        )
        _check_unique(wanted, typed)
        return _replace_days(typed, rows) if wanted.daily else _replace_table(wanted, typed, rows)


def _refuse_cluster() -> None:
    """Refuse where the tables of one server are not the whole."""
    if settings.current().clickhouse_cluster or settings.current().clickhouse_replicated:
        raise Refusal("Files are loaded into a single server; on a cluster, replace the tables and write data_loads.")


def _check_unique(dataset: Dataset, typed: str) -> None:
    """Refuse a key that names more than one row, over all files together."""
    if dataset.key is None:
        return
    places = {"sorted": "hem_hash" if dataset.hashed else dataset.key, "typed": typed}
    repeated = tables.ask(REPEATED, places, options={"optimize_aggregation_in_order": 1})[0][0]
    if repeated:
        raise Refusal(f"{dataset.name}: {dataset.key} must be unique; {repeated:,} of them appear more than once.")


def _replace_days(typed: str, rows: int) -> Loaded:
    """Put every loaded day in its place, each in one step."""
    days = [(row[0], int(row[1])) for row in tables.ask(DAYS, {"typed": typed})]
    return Loaded("signals", rows, tuple(_replace_day(typed, day, count) for day, count in days))


def _replace_day(typed: str, day: date, rows: int) -> LoadedDay:
    """Put one loaded day in its place."""
    places = {"day": day.isoformat(), "typed": typed}
    tables.run("ALTER TABLE intent_signals REPLACE PARTITION '$day' FROM $typed", places)
    return LoadedDay(day, rows, ready.renew_signals(day))


def _replace_table(dataset: Dataset, typed: str, rows: int) -> Loaded:
    """Put a loaded table in its place; the old rows go with the other tables of this load."""
    tables.run("EXCHANGE TABLES $table AND $typed", {"table": dataset.table, "typed": typed})
    return Loaded(dataset.name, rows, version=ready.renew_people() if dataset.name == "people" else None)
