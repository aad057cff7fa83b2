"""
Config and data date -> Plan: the ClickHouse statements of a run, their bound parameters and their limits.

Statements are put together from the files of ``queries/`` and the fixed fragments below; what a customer wrote travels
as a bound parameter, never as SQL. Text is folded by ClickHouse on both sides, by the ``fold`` of ``who.sql``.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib import resources
from string import Template
from typing import Any, Final
from uuid import UUID

from worker import person
from worker.audience import AudienceConfig
from worker.filters import CATALOG, Filter, Kind, Payload

PLAN_VERSION: Final = 1
"""Raised whenever the same config over the same data could come out differently."""

STRATEGY: Final = "serving_table_in"
EVERYBODY: Final = 2**64 - 1
CHUNK: Final = 100  # values a parameter: keeps each under 131,072 bytes, and under multiSearch's 255 needles
LIGHTER_THREADS: Final = 2
LIGHTER_BLOCK_ROWS: Final = 8192
# Blocks gathered before they are written hold most of what a broad audience's INSERT needs: 256 MiB of them unless told.
LIGHTER_INSERT_BYTES: Final = 4 * 1024 * 1024

Fragment = tuple[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Queries:
    """The texts of ``queries/*.sql``, each with places for fixed fragments only."""

    fold: Template
    who: Template
    count: Template
    write: Template
    verify: Template


@dataclass(frozen=True, slots=True)
class Statement:
    """One ClickHouse statement: its text, the values of its ``{name:Type}`` places, its settings."""

    sql: str
    parameters: Mapping[str, Any]
    settings: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Counted:
    """People who match topics, scores and overlap, and those of them who pass the filters."""

    candidates: int
    results: int


@dataclass(frozen=True, slots=True)
class Plan:
    """
    The statements of one execution.

    :param count: one row, (candidates, results)
    :param write: the INSERT … SELECT that freezes the snapshot
    :param verify: one row about the snapshot key, (rows, lowest rank, highest rank, distinct ranks)
    """

    strategy: str
    count: Statement
    write: Statement
    verify: Statement


@cache
def load() -> Queries:
    """Read ``queries/*.sql``, once a process."""
    folder = resources.files("worker") / "queries"
    names = ("fold", "who", "count", "write", "verify")
    return Queries(*(Template((folder / f"{name}.sql").read_text(encoding="utf-8")) for name in names))


def build(  # noqa: PLR0913 - a run's own values and a deployment's limits, all of them plain
    config: AudienceConfig,
    data_date: date,
    *,
    queries: Queries,
    snapshot_key: UUID,
    written_on: date,
    max_execution_seconds: int,
    max_memory_bytes: int,
    max_threads: int = 0,
    row_limit: int | None = None,
    lighter: bool = False,
    workload: str = "",
) -> Plan:
    """
    Plan one execution.

    :param data_date: the day of intent data to read
    :param snapshot_key: of this execution alone
    :param written_on: the day, hence the part, that the snapshot is stored under
    :param max_threads: 0 leaves it to ClickHouse
    :param row_limit: store the first so many results only; counts stay whole
    :param lighter: spill to disk, use few threads and write small blocks, after a run met its memory limit
    :param workload: whose resources ClickHouse is to use; empty leaves it to ClickHouse
    """
    conditions, values = _conditions(config.filters)
    fragments = {"person_columns": ", ".join(person.COLUMNS), "filters": conditions}
    fragments["fold"] = queries.fold.template.rstrip()
    fragments["who"] = queries.who.substitute(fragments).rstrip()
    asked = values | _asked(config, data_date)
    key = {"snapshot_key": str(snapshot_key), "written_on": written_on}
    limit = {"row_limit": EVERYBODY if row_limit is None else row_limit}
    settings = limits(max_execution_seconds, max_memory_bytes, max_threads, lighter=lighter, workload=workload)
    return Plan(
        strategy=STRATEGY,
        count=Statement(queries.count.substitute(fragments), asked, settings),
        write=Statement(queries.write.substitute(fragments), asked | key | limit, settings),
        verify=Statement(queries.verify.substitute(fragments), key, settings),
    )


def _asked(config: AudienceConfig, data_date: date) -> dict[str, Any]:
    """Return what makes a person a candidate."""
    return {
        "data_date": data_date,
        "topic_ids": list(config.topic_ids),
        "min_score": config.min_score,
        "max_score": config.max_score,
        "min_topic_overlap": config.min_topic_overlap,
    }


def limits(seconds: int, memory_bytes: int, threads: int, *, lighter: bool, workload: str = "") -> dict[str, Any]:
    """Return the settings of a statement: its limits, and what a server's profile must not change under us."""
    settings: dict[str, Any] = {
        "max_execution_time": seconds,
        "max_memory_usage": memory_bytes,
        "join_use_nulls": 0,
        "transform_null_in": 0,
    }
    if workload:
        settings["workload"] = workload
    if threads:
        settings["max_threads"] = threads
    if lighter:
        settings |= {
            "max_threads": min(threads or LIGHTER_THREADS, LIGHTER_THREADS),
            "max_block_size": LIGHTER_BLOCK_ROWS,
            "min_insert_block_size_rows": LIGHTER_BLOCK_ROWS,
            "min_insert_block_size_bytes": LIGHTER_INSERT_BYTES,
            "max_bytes_before_external_group_by": memory_bytes // 4,
            "max_bytes_before_external_sort": memory_bytes // 4,
            "join_algorithm": "grace_hash",
        }
    return settings


def _conditions(asked: Mapping[str, Payload]) -> Fragment:
    """Return the conditions of all filters, each led by AND, and the values they bind."""
    fragments = [_CONDITIONS[CATALOG[key].kind](CATALOG[key], payload) for key, payload in asked.items()]
    values = {name: value for _, bound in fragments for name, value in bound.items()}
    return "".join(f"\n            AND {sql}" for sql, _ in fragments), values


def _multi_select(entry: Filter, payload: Any) -> Fragment:
    bound = dict(chunks(entry, payload["values"]))
    return joined(" OR ", (f"fold({entry.column}) IN ({folded(name)})" for name in bound)), bound


def _boolean(entry: Filter, payload: Any) -> Fragment:
    holds = f"notEmpty(trimmed(ifNull({entry.column}, '')))" if entry.presence else f"ifNull({entry.column}, false)"
    return (holds if payload else f"NOT {holds}"), {}


def _text_terms(entry: Filter, payload: Any) -> Fragment:
    bound = dict(chunks(entry, payload["values"]))
    matches = _MATCHES[payload["operator"], payload["mode"]]
    text = f"fold(ifNull({entry.column}, ''))"
    together = joined(
        " OR " if payload["mode"] == "any" else " AND ",
        (matches.format(text=text, terms=folded(name)) for name in bound),
    )
    return (f"NOT {together}" if entry.excludes else together), bound


def _number_range(entry: Filter, payload: Any) -> Fragment:
    bound = {f"{name_of(entry)}_{side}": value for side, value in payload.items()}
    signs = {"min": ">=", "max": "<="}
    return joined(
        " AND ", (f"{entry.column} {signs[side]} {{{name_of(entry)}_{side}:Int64}}" for side in payload)
    ), bound


_CONDITIONS: Final[Mapping[Kind, Callable[[Filter, Any], Fragment]]] = {
    Kind.MULTI_SELECT: _multi_select,
    Kind.BOOLEAN: _boolean,
    Kind.TEXT_TERMS: _text_terms,
    Kind.NUMBER_RANGE: _number_range,
}

_MATCHES: Final[Mapping[tuple[str, str], str]] = {
    ("contains", "any"): "multiSearchAny({text}, {terms})",
    ("contains", "all"): "NOT has(multiSearchAllPositions({text}, {terms}), 0)",
    ("equals", "any"): "{text} IN ({terms})",
    ("equals", "all"): "hasAll([{text}], {terms})",
}


def chunks(entry: Filter, values: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Cut a filter's values into parameters that a request can carry, each with its name."""
    for number, start in enumerate(range(0, len(values), CHUNK)):
        yield f"{name_of(entry)}_{number}", list(values[start : start + CHUNK])


def name_of(entry: Filter) -> str:
    """Return the name that a filter's parameters begin with."""
    return entry.key.replace(".", "_")


def folded(parameter: str) -> str:
    """Fold the texts of a parameter, as SQL."""
    return f"arrayMap(value -> fold(value), {{{parameter}:Array(String)}})"


def joined(word: str, conditions: Iterable[str]) -> str:
    """Put conditions into one, as SQL."""
    return f"({word.join(conditions)})"
