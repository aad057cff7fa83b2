"""
One file on its way into a table: its columns, its rows as text, every rule, its rows as they are stored.

Staged rows keep the file's order, so that a refusal can name the row.
"""

import difflib
import io
import re
from collections.abc import Sequence
from typing import Any, Final

from worker import clickhouse, errors
from worker.errors import Refusal
from worker.loads import tables
from worker.loads.columns import Column, Dataset
from worker.loads.files import PARQUET, Progress, Source

# The server tells the columns of a Parquet file from its footer alone: nothing large is sent to be refused.
DESCRIBE: Final = "DESCRIBE TABLE format(Parquet, (SELECT footer FROM $staged))"

# How many rows a file has, and how many of them break each rule.
CHECK: Final = "SELECT count(), $counts FROM $staged"

# The first row that breaks a rule.
FIRST: Final = """
SELECT minIf(number, broken) FROM (SELECT rowNumberInAllBlocks() + 1 AS number, $broken AS broken FROM $staged)
"""

COPY: Final = "INSERT INTO $typed ($names) SELECT $values FROM $staged"

NESTED: Final = ("Array(", "Tuple(", "Map(", "Variant(", "JSON")
IN_ORDER: Final = {"input_format_parquet_preserve_order": 1}


def columns(dataset: Dataset, file: Source, staged: str) -> tuple[Column, ...]:
    """
    Return the dataset's columns that a file has.

    :param staged: name for a table, made and dropped here
    :raises Refusal: naming a column that is unknown, twice there, missing or not made of plain values
    """
    names = _described(file, staged) if file.format == PARQUET else file.header()
    known = [column.name for column in dataset.columns]
    for position, name in enumerate(names):
        if name not in known:
            raise file.refused(f"has an unknown column {name!r}{_guess(name, known)}.")
        if name in names[:position]:
            raise file.refused(f"has the column {name} twice.")
    for column in dataset.columns:
        if column.required and column.name not in names:
            raise file.refused(f"has no column {column.name}.")
    return tuple(column for column in dataset.columns if column.name in names)


def copy(dataset: Dataset, file: Source, chosen: Sequence[Column], prefix: str, progress: Progress) -> int:
    """
    Send one file, check it and copy it into the typed table; return its rows.

    :raises Refusal: naming the column, the rule, how many rows break it and the first of them
    """
    staged, typed = f"{prefix}_staged", f"{prefix}_typed"
    _stage(file, chosen, staged, progress)
    rows = _check(file, chosen, staged)
    names, values = [it.name for it in chosen], [it.value for it in chosen]
    if dataset.hashed:
        names, values = _hashed(names, values, keep=dataset.key is not None)
    places = {"typed": typed, "names": ", ".join(names), "values": ", ".join(values), "staged": staged}
    # 0: a file may hold any number of days.
    tables.run(COPY, places, options={"max_partitions_per_insert_block": 0})
    tables.drop(staged)
    return rows


def _described(file: Source, staged: str) -> tuple[str, ...]:
    """Return the names of a Parquet file's columns, refusing those that hold lists or structures."""
    tables.run("CREATE TABLE $staged (footer String) ENGINE = Memory", {"staged": staged})
    clickhouse.insert_file(staged, (), "RawBLOB", io.BytesIO(file.footer()))
    try:
        found = tables.ask(DESCRIBE, {"staged": staged})
    except errors.InternalError:
        raise file.refused("is not a Parquet file that ClickHouse can read.") from None
    tables.drop(staged)
    for name, kind, *_ in found:
        if kind.startswith(NESTED):
            raise file.refused(f"has a column {name!r} of lists or structures; plain values are needed.")
    return tuple(row[0] for row in found)


def _guess(name: str, known: Sequence[str]) -> str:
    """Name the column that was probably meant."""
    spelled = re.sub(r"\.|(?<=[a-z])(?=[A-Z])", "_", name).lower()
    near = difflib.get_close_matches(spelled, known, n=1)
    return f"; perhaps {near[0]} is meant" if near else ""


def _stage(file: Source, chosen: Sequence[Column], staged: str, progress: Progress) -> None:
    """Send a file into a table of text columns."""
    text = ", ".join(f"{column.name} Nullable(String)" for column in chosen)
    tables.run("CREATE TABLE $staged ($text) ENGINE = Log", {"staged": staged, "text": text})
    try:
        with file.opened(progress) as stream:
            clickhouse.insert_file(staged, (), file.format, stream, options=IN_ORDER)
    except errors.InternalError as error:
        raise file.refused(_unreadable(file, error)) from error


def _unreadable(file: Source, error: errors.AttemptError) -> str:
    """Say where ClickHouse stopped reading."""
    row = re.search(r"\(at row (\d+)\)", str(error.__cause__))
    kind = "Parquet" if file.format == PARQUET else "CSV"
    return f"row {row[1]} cannot be read as {kind}." if row else f"cannot be read as {kind}."


def _check(file: Source, chosen: Sequence[Column], staged: str) -> int:
    """Return a staged file's rows, refusing none and any that breaks a rule."""
    rules = [(column, broken, sentence) for column in chosen for broken, sentence in column.broken()]
    counts = ", ".join(f"countIf({broken})" for _, broken, _ in rules)
    rows, *found = _numbers(CHECK, {"counts": counts, "staged": staged})
    if not rows:
        raise file.refused("has no rows.")
    for (column, broken, sentence), count in zip(rules, found, strict=True):
        if count:
            raise _broken(file, f"{column.name} {sentence}", count, {"broken": broken, "staged": staged})
    return rows


def _broken(file: Source, rule: str, count: int, places: dict[str, str]) -> Refusal:
    """Return the refusal that names the rule and the first row that breaks it."""
    (first,) = _numbers(FIRST, places, options={"max_threads": 1})
    rows = f"{count:,} rows are not so, the first is row {first:,}" if count > 1 else f"row {first:,} is not so"
    return file.refused(f"{rule}; {rows}.")


def _numbers(sql: str, places: dict[str, str], *, options: dict[str, Any] | None = None) -> list[int]:
    """Return the one row of numbers that a statement answers with."""
    return [int(number) for number in tables.ask(sql, places, options=options)[0]]


def _hashed(names: list[str], values: list[str], *, keep: bool) -> tuple[list[str], list[str]]:
    """Add hem_hash, and drop the hashed e-mail where the table does not keep it."""
    kept = [pair for pair in zip(names, values, strict=True) if keep or pair[0] != "hashed_email"]
    return ["hem_hash", *(name for name, _ in kept)], ["cityHash64(hashed_email)", *(value for _, value in kept)]
