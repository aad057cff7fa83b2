"""
The serving index as statements: how a piece of it is written, and how the people of many audiences are picked from it.

A signal stands in the index beside what filters ask about its person: texts as codes (cityHash64 of the folded text, 0
for none), yes-or-no filters as bits of ``flags``. So a pick reads the rows of its topics and nothing of ``people``.
The semantics are those of :mod:`worker.plan`, which stays the reference.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib import resources
from string import Template
from typing import Any, Final
from uuid import UUID

from worker import person
from worker.audience import LOWEST_SCORE, AudienceConfig
from worker.filters import CATALOG, Filter, Kind
from worker.plan import EVERYBODY, Fragment, Statement, chunks, folded, joined, name_of

STRATEGY: Final = "serving_index"
MOST_FIELDS: Final = 800
"""Parameters of one pick at most; ClickHouse refuses a request of more than 1,000 fields."""
MOST_BYTES: Final = 200_000
"""Length of one pick's text at most; ClickHouse refuses more than 262,144."""
SCATTERED: Final = {"merge_tree_min_rows_for_concurrent_read": 16_384}
"""Few people lie in many granules: threads share them from 64 granules on, where ClickHouse would wait for 640."""

ALONE: Final = {"max_threads": 1}
"""Counting the ranks of some hundred rows takes less than starting threads for it."""


def _columns(kind: Kind) -> tuple[str, ...]:
    return tuple(dict.fromkeys(entry.column for entry in CATALOG.values() if entry.kind is kind))


CHOICES: Final = _columns(Kind.MULTI_SELECT)
TEXTS: Final = _columns(Kind.TEXT_TERMS)
NUMBERS: Final = _columns(Kind.NUMBER_RANGE)
FLAGS: Final = tuple(entry.key for entry in CATALOG.values() if entry.kind is Kind.BOOLEAN)
COLUMNS: Final = (*NUMBERS, *CHOICES, *TEXTS)

# Something beside white space, which the first letter shows nearly always.
_PRESENT: Final = "(ascii(ifNull({column}, '')) BETWEEN 33 AND 126 OR notEmpty(trimmed(ifNull({column}, ''))))"


@dataclass(frozen=True, slots=True)
class Pick:
    """
    The statements that carry a batch from the index to its snapshots.

    :param pick: the INSERT … SELECT that finds everybody's people
    :param freeze: the INSERT … SELECT that writes all snapshots
    :param freeze_few: the same for few people, whom it hydrates and ranks at once
    :param frozen: a row an audience, (number, candidates, results, rows, lowest rank, highest rank, distinct ranks,
        newest version of the day's signals, newest version of people)
    """

    pick: Statement
    freeze: Statement
    freeze_few: Statement
    frozen: Statement


@cache
def _load(name: str) -> Template:
    """Read one of ``queries/*.sql``, once a process."""
    return Template((resources.files("worker") / "queries" / f"{name}.sql").read_text(encoding="utf-8"))


def piece(number: int, data_date: date, bounds: tuple[int, int], settings: Mapping[str, Any]) -> Sequence[Statement]:
    """
    Plan the writing of one piece: its rows, then the texts behind its codes.

    :param number: the piece's own, of this execution alone
    :param bounds: lowest and highest hem_hash, both included
    """
    values = {
        "piece": number,
        "low": bounds[0],
        "high": bounds[1],
        "data_date": data_date,
        "lowest_score": LOWEST_SCORE,
    }
    fold = {"fold": _fold()}
    coded = ", ".join((*map(_number, NUMBERS), *map(_choice, CHOICES), *map(_text, TEXTS)))
    rows = _load("piece").substitute(fold, columns=", ".join(COLUMNS), coded=coded, flags=_flags())
    texts = ", ".join(f"groupUniqArray(('{column}', {_folded_text(column)}))" for column in TEXTS)
    return (
        Statement(rows, values, settings),
        Statement(_load("texts").substitute(fold, texts=texts), values, settings),
    )


def pick(
    configs: Sequence[AudienceConfig],
    pieces: Sequence[int],
    *,
    batch: UUID,
    snapshot_keys: Sequence[UUID],
    data_date: date,
    written_on: date,
    settings: Mapping[str, Any],
    row_limit: int | None = None,
) -> Pick:
    """
    Plan one batch.

    :param pieces: of the index
    :param configs: the audiences of the batch, numbered from 1
    :param batch: of this execution alone, like each of the snapshot keys, which stand in the order of the configs
    :param row_limit: store the first so many results of each only; counts stay whole
    """
    planned = [_member(config, number) for number, config in enumerate(configs, start=1)]
    own = {"batch": str(batch), "written_on": written_on}
    text = _load("pick").substitute(fold=_fold(), members="\n    UNION ALL\n    ".join(sql for sql, _ in planned))
    asked = {name: value for _, bound in planned for name, value in bound.items()}
    keys = {"snapshot_keys": [str(key) for key in snapshot_keys], "written_on": written_on}
    limit = EVERYBODY if row_limit is None else row_limit
    values = own | keys | {"data_date": data_date, "topic_ids": _topics(configs), "row_limit": limit}
    columns = ", ".join(person.COLUMNS)
    freeze, freeze_few = (
        Statement(_load(name).substitute(person_columns=columns), values, {**settings, **SCATTERED})
        for name in ("freeze", "freeze_few")
    )
    return Pick(
        pick=Statement(text, asked | own | {"pieces": list(pieces)}, settings),
        freeze=freeze,
        freeze_few=freeze_few,
        frozen=Statement(_load("frozen").template, own | keys | {"data_date": data_date}, {**settings, **ALONE}),
    )


def packed(configs: Sequence[AudienceConfig], most: int) -> Iterator[slice]:
    """Cut audiences into packs that one statement can carry, each of so many at most."""
    start = fields = letters = 0
    for place, config in enumerate(configs):
        sql, bound = _member(config, place)
        full = fields + len(bound) > MOST_FIELDS or letters + len(sql) > MOST_BYTES or place - start == most
        if full and place > start:
            yield slice(start, place)
            start, fields, letters = place, 0, 0
        fields, letters = fields + len(bound), letters + len(sql)
    if configs:
        yield slice(start, len(configs))


def _fold() -> str:
    return _load("fold").template.rstrip()


def _topics(configs: Sequence[AudienceConfig]) -> list[int]:
    return sorted({topic for config in configs for topic in config.topic_ids})


def _member(config: AudienceConfig, number: int) -> Fragment:
    """Plan one audience's part of a pick, every parameter under its number."""
    matching = _load("matching").substitute(number=str(number)).strip()
    fragments = [
        _CONDITIONS[CATALOG[key].kind](CATALOG[key], payload, number) for key, payload in config.filters.items()
    ]
    filters = "".join(f"\n            AND {sql}" for sql, _ in fragments)
    bound = {name: value for _, values in fragments for name, value in values.items()}
    asked = {
        f"topic_ids_{number}": list(config.topic_ids),
        f"min_score_{number}": config.min_score,
        f"max_score_{number}": config.max_score,
        f"min_topic_overlap_{number}": config.min_topic_overlap,
    }
    # Where one topic is enough, nobody's topics need to be counted.
    counting = _load("one_topic" if config.min_topic_overlap == 1 else "some_topics")
    places = {"number": str(number), "matching": matching, "filters": filters}
    places["candidates"] = counting.substitute(places).rstrip()
    return _load("member").substitute(places).rstrip(), bound | asked


def _number(column: str) -> str:
    return f"ifNull(toInt64({column}), -1) AS {column}"


def _choice(column: str) -> str:
    return f"toUInt64(ifNull(cityHash64(fold({column})), 0)) AS {column}"


def _text(column: str) -> str:
    return f"toUInt64(cityHash64({_folded_text(column)})) AS {column}"


def _folded_text(column: str) -> str:
    """Fold each distinct text once: many people share a title or an employer."""
    return f"fold(toLowCardinality(ifNull({column}, '')))"


def _flags() -> str:
    """Put whether somebody is known, and the yes-or-no filters, into the bits of one number."""
    bits = ["1", *(_flag(CATALOG[key]) for key in FLAGS)]
    return "toUInt16(" + " + ".join(f"bitShiftLeft(toUInt16({bit}), {place})" for place, bit in enumerate(bits)) + ")"


def _flag(entry: Filter) -> str:
    return _PRESENT.format(column=entry.column) if entry.presence else f"ifNull({entry.column}, false)"


def _multi_select(entry: Filter, payload: Any, number: int) -> Fragment:
    bound = _bound(entry, payload, number)
    return joined(" OR ", (f"{entry.column} IN ({_codes(name)})" for name in bound)), bound


def _boolean(entry: Filter, payload: Any, number: int) -> Fragment:
    del number
    holds = f"bitTest(flags, {1 + FLAGS.index(entry.key)})"
    return (holds if payload else f"NOT {holds}"), {}


def _text_terms(entry: Filter, payload: Any, number: int) -> Fragment:
    bound = _bound(entry, payload, number)
    matches = _MATCHES[payload["operator"], payload["mode"]]
    word = " OR " if payload["mode"] == "any" else " AND "
    conditions = (matches.format(column=entry.column, terms=folded(name), codes=_codes(name)) for name in bound)
    together = joined(word, conditions)
    return (f"NOT {together}" if entry.excludes else together), bound


def _number_range(entry: Filter, payload: Any, number: int) -> Fragment:
    bound = {f"{name_of(entry)}_{side}_{number}": value for side, value in payload.items()}
    signs = {"min": ">=", "max": "<="}
    asked = (f"{entry.column} {signs[side]} {{{name_of(entry)}_{side}_{number}:Int64}}" for side in payload)
    return joined(" AND ", (f"{entry.column} >= 0", *asked)), bound


def _bound(entry: Filter, payload: Any, number: int) -> dict[str, Any]:
    return {f"{name}_{number}": values for name, values in chunks(entry, payload["values"])}


def _codes(parameter: str) -> str:
    return f"arrayMap(value -> cityHash64(fold(value)), {{{parameter}:Array(String)}})"


_CONDITIONS: Final[Mapping[Kind, Callable[[Filter, Any, int], Fragment]]] = {
    Kind.MULTI_SELECT: _multi_select,
    Kind.BOOLEAN: _boolean,
    Kind.TEXT_TERMS: _text_terms,
    Kind.NUMBER_RANGE: _number_range,
}

_THOSE: Final = (
    "{{column}} IN (SELECT code FROM serving_texts"
    " WHERE piece IN {{{{pieces:Array(UInt64)}}}} AND field = '{{column}}' AND {condition})"
)
_MATCHES: Final[Mapping[tuple[str, str], str]] = {
    ("contains", "any"): _THOSE.format(condition="multiSearchAny(text, {terms})"),
    ("contains", "all"): _THOSE.format(condition="NOT has(multiSearchAllPositions(text, {terms}), 0)"),
    ("equals", "any"): "{column} IN ({codes})",
    ("equals", "all"): "hasAll([{column}], {codes})",
}
