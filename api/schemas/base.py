"""What every schema is built of, and the envelopes."""

from datetime import UTC, datetime
from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, WithJsonSchema
from pydantic.alias_generators import to_camel

Data = TypeVar("Data")


def spelled(value: datetime) -> str:
    """Spell a moment as RFC 3339 in UTC, with milliseconds and ``Z``."""
    return f"{value.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"


Moment = Annotated[
    datetime,
    PlainSerializer(spelled, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-05-05T09:30:00.000Z"]}),
]


class Schema(BaseModel):
    """A frozen object with camelCase names; what it does not know it refuses."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True, from_attributes=True
    )


class Asked(Schema):
    """What a client sends: spelt as documented, and no value taken for one of another type."""

    model_config = ConfigDict(populate_by_name=False, strict=True)


class ApiMeta(BaseModel):
    """When an answer was given, and to which request."""

    timestamp: Moment
    request_id: str


class ApiError(BaseModel):
    """A stable code for programs and one plain sentence for people."""

    code: str = Field(examples=["RUN_NOT_FOUND"])
    message: str
    details: Any = None


class ApiErrorResponse(BaseModel):
    """Every answer that is not what was asked for."""

    error: ApiError
    meta: ApiMeta


class Reply(BaseModel, Generic[Data]):
    """Every answer that is."""

    data: Data
    meta: ApiMeta
