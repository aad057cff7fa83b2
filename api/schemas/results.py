"""
What a run found, as clients see it.

The schemas of a person are made of :data:`worker.person.FIELDS`; rows take their shape from the same list and are not
validated again: ClickHouse holds the types.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from operator import itemgetter
from typing import Annotated, Any, Final, Literal

from pydantic import Field, create_model
from sqlalchemy import RowMapping

from api.schemas.base import Schema
from api.schemas.runs import IntentAudienceRun
from worker import csv_format, person, snapshots

Number = Annotated[int, Field(ge=0, le=2**32 - 1)]
Count = Annotated[int, Field(ge=0)]
Percent = Annotated[float, Field(ge=0, le=100, description="Of total, rounded to two decimals; 0 when there are none.")]
Score = Annotated[int, Field(ge=50, le=99)]

KINDS: Final[Mapping[str, Any]] = {"String": str, "Bool": bool, "UInt32": Number, "Date": date}
HASHED_EMAIL: Final = Annotated[
    str,
    Field(
        description="Names the person: 64 hex characters, never null.",
        examples=["50c41e8bb3919b482ed996c139cc85935d2bef278ebc42a22f8c84b04b73709b"],
    ),
]


def _nested() -> dict[str, list[person.Field]]:
    """Return the fields of each nested object, by its name; those of the person itself under an empty one."""
    groups: dict[str, list[person.Field]] = {}
    for field in person.FIELDS:
        groups.setdefault(field.name.rpartition(".")[0], []).append(field)
    return groups


def _typed(field: person.Field) -> Any:
    """Return the type of a field, as pydantic and OpenAPI know it."""
    if field is person.FIELDS[0]:
        return HASHED_EMAIL
    kind = next(kind for name, kind in KINDS.items() if name in field.type)
    return kind | None if "Nullable" in field.type else kind


def _properties(fields: Sequence[person.Field]) -> dict[str, Any]:
    """Return the properties that a schema has for some fields."""
    return {field.name.rpartition(".")[2]: (_typed(field), ...) for field in fields}


def _model(name: str, properties: Mapping[str, Any]) -> Any:
    """Make a schema whose properties are named as clients know them."""
    return create_model(name, __base__=Schema, __module__=__name__, **properties)


class MatchedTopic(Schema):
    """A topic of the audience that the person researches."""

    topic_id: Number = Field(examples=[117796])
    topic_name: str | None = Field(examples=["Internet Marketing Automation"])
    type: str | None = Field(examples=["b2b"])
    industry: str | None = Field(examples=["Marketing"])
    category: str | None = Field(examples=["Technology"])


class Intent(Schema):
    """How strongly a person researches the audience's topics."""

    score: Score = Field(description="The highest among the matched topics.")
    topic_overlap: int = Field(ge=1, description="How many of the audience's topics match.")
    matched_topics: list[MatchedTopic] = Field(description="By score, highest first.")


NESTED: Final = _nested()
OBJECTS: Final = {
    name: (_model(f"Person{name.capitalize()}", _properties(fields)), ...) for name, fields in NESTED.items() if name
}


class Person(_model("PersonFields", _properties(NESTED[""]) | OBJECTS)):  # type: ignore[misc]  # made of FIELDS
    """A person that the run found; null is what is not known."""

    intent: Intent


class RunResults(Schema):
    """One page of a run's results."""

    run: IntentAudienceRun
    state: Literal["queued", "running", "completed"]
    results: list[Person] = Field(description="By score and topic overlap, highest first; empty while pending.")
    total: int = Field(ge=0, description="How many results can be read: of a preview, 100 at most.")
    limit: int
    offset: int


class FillRate(Schema):
    """Of how many people a field is known: not null, and not empty."""

    count: Count
    percent: Percent


DOTTED: Final = {field.column: (FillRate, Field(alias=field.name)) for field in person.FIELDS}


class ScoreBucket(Schema):
    """How many people have a score within these bounds."""

    bucket: str = Field(examples=["50-69"])
    count: Count
    percent: Percent


class Averages(Schema):
    """Averages over all results, rounded to two decimals; 0 when there are none."""

    score: float
    topic_overlap: float


class FillRates(_model("DottedFields", DOTTED)):  # type: ignore[misc]  # made of FIELDS
    """The fill rate of every person field, by its dotted name."""


class Stats(Schema):
    """What a run's results come to."""

    total: Count
    fill_rates: FillRates
    score_histogram: list[ScoreBucket] = Field(description="In the order of scores; empty buckets are listed.")
    averages: Averages


class RunStats(Schema):
    """A run's stats."""

    run: IntentAudienceRun
    state: Literal["queued", "running", "completed"]
    stats: Stats | None = Field(description="Null while the run is pending.")


PLACES: Final = {column: place for place, column in enumerate(csv_format.COLUMNS)}
SHAPE: Final = [
    (name, [field.name.rpartition(".")[2] for field in fields], itemgetter(*(PLACES[it.column] for it in fields)))
    for name, fields in NESTED.items()
]
INTENT: Final = itemgetter(PLACES["score"], PLACES["topic_overlap"], PLACES["matched_topics"])


def results_of(
    run: RowMapping, rows: Sequence[Sequence[Any]], *, total: int, limit: int, offset: int
) -> dict[str, Any]:
    """Shape a page as :class:`RunResults`, from rows in the order of :data:`worker.csv_format.COLUMNS`."""
    people = [_person(row) for row in rows]
    shown = {"run": IntentAudienceRun.of(run), "state": run["status"], "results": people}
    return {**shown, "total": total, "limit": limit, "offset": offset}


def stats_of(run: RowMapping, measured: snapshots.Stats | None) -> dict[str, Any]:
    """Shape stats as :class:`RunStats`; None for a run that is pending."""
    return {
        "run": IntentAudienceRun.of(run),
        "state": run["status"],
        "stats": None if measured is None else _stats(measured),
    }


def _person(row: Sequence[Any]) -> dict[str, Any]:
    """Shape one row as :class:`Person`."""
    shaped: dict[str, Any] = {}
    for name, properties, values in SHAPE:
        found = dict(zip(properties, values(row), strict=True))
        if name:
            shaped[name] = found
        else:
            shaped.update(found)
    score, topic_overlap, topics = INTENT(row)
    matched = [{name: topic[column] for name, column in csv_format.TOPIC.items()} for topic in topics]
    shaped["intent"] = {"score": score, "topicOverlap": topic_overlap, "matchedTopics": matched}
    return shaped


def _stats(measured: snapshots.Stats) -> dict[str, Any]:
    """Shape stats as :class:`Stats`."""
    total = measured.total
    buckets = zip(snapshots.BUCKETS, measured.by_score, strict=True)
    return {
        "total": total,
        "fillRates": {field.name: _share(measured.filled[field.column], total) for field in person.FIELDS},
        "scoreHistogram": [{"bucket": f"{low}-{high}", **_share(count, total)} for (low, high), count in buckets],
        "averages": {"score": round(measured.score, 2), "topicOverlap": round(measured.topic_overlap, 2)},
    }


def _share(count: int, total: int) -> dict[str, int | float]:
    """Return a count and what share of the total it is, in percent."""
    return {"count": count, "percent": round(100 * count / total, 2) if total else 0}
