"""An audience's config as OpenAPI describes it; what one may hold is decided by ``worker.audience`` alone."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic import ConfigDict, Field, RootModel

from api.schemas.base import Schema
from worker import audience, filters
from worker.filters import CATALOG, Filter, Kind

JsonSchema = dict[str, Any]

# What cannot be stored or seen; spelt so that every dialect of regular expressions reads it.
VISIBLE: Final = r"^[^\u0000-\u001f\u007f-\u009f]*$"
ADDRESS: Final = (
    r"^https?://[A-Za-z][A-Za-z0-9]*(-[A-Za-z0-9]+)*(\.[A-Za-z][A-Za-z0-9]*(-[A-Za-z0-9]+)*)*(:[0-9]{1,4})?(/[!-~]*)?$"
)
ADDRESS_CHARACTERS: Final = 2083
EXAMPLE: Final = {
    "topicIds": [10421, 20117],
    "minScore": 70,
    "minTopicOverlap": 1,
    "filters": {"role.seniority": {"values": ["director", "vp", "c_suite"]}, "contact.hasBusinessEmail": True},
}


class AudienceConfig(Schema):
    """A config, normalised: every default written out, topics and filters in order, filters by their dotted keys."""

    topic_ids: list[int]
    min_score: int
    max_score: int
    min_topic_overlap: int
    filters: dict[str, Any]
    source_url: str | None = Field(description="Where the audience came from; no part of the hash.")

    @classmethod
    def of(cls, normalized: Mapping[str, Any], source_url: str | None) -> "AudienceConfig":
        """Put a normalised config together with its source."""
        return cls.model_validate({**normalized, "sourceUrl": source_url})


def _described(schema: JsonSchema) -> None:
    """Describe a config where anything at all would do for pydantic."""
    schema.update(_config())


class AudienceConfigInput(RootModel[Any]):
    """
    Who is searched for.

    Two rules hold between fields: minScore must not exceed maxScore, and minTopicOverlap must not exceed the number of
    distinct topics. Scores below 50 do not exist: a lower minScore, or null, counts as 50. A config may have 65,536
    bytes as canonical JSON.
    """

    model_config = ConfigDict(frozen=True, json_schema_extra=_described)


def _config() -> JsonSchema:
    """Describe a config."""
    many = {"minItems": 1, "maxItems": audience.MOST_TOPICS}
    topic = {"type": "integer", "minimum": 0, "maximum": audience.MOST_TOPIC_ID}
    overlap = {"type": "integer", "minimum": 1, "maximum": audience.MOST_TOPICS, "default": 1}
    highest = {"minimum": audience.LOWEST_SCORE, "maximum": audience.HIGHEST_SCORE, "default": audience.HIGHEST_SCORE}
    lowest = {"minimum": 0, "maximum": audience.HIGHEST_SCORE, "default": audience.DEFAULT_MIN_SCORE}
    address = {"format": "uri", "pattern": ADDRESS, "maxLength": ADDRESS_CHARACTERS}
    return {
        **_object(
            {
                "topicIds": {
                    "type": "array",
                    "items": topic,
                    "description": "Each once, whatever their order.",
                    **many,
                },
                "minScore": {"type": ["integer", "null"], **lowest},
                "maxScore": {"type": "integer", **highest},
                "minTopicOverlap": {**overlap, "description": "How many of the topics a person must match."},
                "filters": _filters(),
                "sourceUrl": {"type": ["string", "null"], "description": "Where the audience came from.", **address},
            }
        ),
        "required": ["topicIds"],
        "examples": [EXAMPLE],
    }


def _filters() -> JsonSchema:
    """Describe filters in both spellings."""
    dotted = {key: _payload(entry) for key, entry in CATALOG.items()}
    nested = {group: _object(dict(_members(group)), nullable=True) for group in sorted(filters.GROUPS)}
    return {
        "description": "Filters are joined by AND. A payload that asks for nothing (no values, no bounds, null) is no"
        " filter. Both spellings may be mixed, but no filter may be given in both.",
        "anyOf": [
            {"title": "Dotted keys", **_object(dotted)},
            {"title": "Nested groups", **_object(nested)},
            {"type": "null"},
        ],
    }


def _members(group: str) -> Iterator[tuple[str, JsonSchema]]:
    """Yield the filters of one group under their nested names, and the options that stand beside text filters."""
    for key, entry in CATALOG.items():
        name = key.removeprefix(f"{group}.")
        if name == key:
            continue
        if entry.kind in (Kind.BOOLEAN, Kind.NUMBER_RANGE):
            yield name, _payload(entry)
            continue
        yield name, {"anyOf": [_values(), _object({"values": _values()}, nullable=True)]}
        if entry.kind is Kind.TEXT_TERMS:
            yield f"{name}Mode", _mode()
            yield f"{name}Operator", _operator(entry)


def _payload(entry: Filter) -> JsonSchema:
    """Describe the payload of one filter."""
    match entry.kind:
        case Kind.BOOLEAN:
            return {"type": ["boolean", "null"], "description": "boolean"}
        case Kind.NUMBER_RANGE:
            bound = {"type": ["integer", "null"], "minimum": -filters.MOST_NUMBER, "maximum": filters.MOST_NUMBER}
            told = "number_range: min must not exceed max; both count as within."
            return {**_object({"min": bound, "max": bound}, nullable=True), "description": told}
        case Kind.TEXT_TERMS:
            told = "text_terms: people whom the terms match are dropped." if entry.excludes else "text_terms"
            options = {"operator": _operator(entry), "mode": _mode()}
            return {**_object({"values": _values(), **options}, nullable=True), "description": told}
        case Kind.MULTI_SELECT:
            told = "multi_select: values are joined by OR."
            return {**_object({"values": _values()}, nullable=True), "description": told}


def _values() -> JsonSchema:
    """Describe the values of a filter."""
    value = {"type": "string", "maxLength": filters.MOST_CHARACTERS, "pattern": VISIBLE}
    told = f"At most {filters.MOST_VALUES} distinct values; case does not matter, nor do blanks around them."
    return {"type": "array", "items": value, "description": told}


def _mode() -> JsonSchema:
    """Describe how the terms of a text filter are joined."""
    return {"type": "string", "enum": ["any", "all"], "default": "any"}


def _operator(entry: Filter) -> JsonSchema:
    """Describe how a text filter compares."""
    return {"type": ["string", "null"], "enum": [*entry.operators, None], "default": entry.operators[0]}


def _object(properties: JsonSchema, *, nullable: bool = False) -> JsonSchema:
    """Describe an object that holds nothing else."""
    kind = ["object", "null"] if nullable else "object"
    return {"type": kind, "properties": properties, "additionalProperties": False}
