"""Runs, as clients see them."""

from datetime import date
from typing import Literal, Self
from uuid import UUID

from pydantic import Field
from sqlalchemy import RowMapping

from api.schemas.base import Asked, Moment, Schema


class IntentAudienceRun(Schema):
    """One materialization of one config against one data date."""

    id: UUID
    audience_id: UUID
    organization_id: UUID
    status: Literal["queued", "running", "completed", "failed", "cancelled"]
    run_type: Literal["manual", "daily", "preview"]
    config_hash: str = Field(description="SHA-256 of the canonical config, 64 hex characters.")
    data_date: date = Field(description="The day of intent data the run reads.")
    result_key: str = Field(description="The run's own opaque name.")
    candidate_count: int
    result_count: int
    attempts: int
    next_attempt_at: Moment | None
    idempotency_key: str | None
    error_code: str | None
    error_message: str | None
    started_at: Moment | None
    completed_at: Moment | None
    cancelled_at: Moment | None
    ready_email_sent_at: Moment | None
    ready_email_export_id: UUID | None
    ready_email_error: str | None
    created_at: Moment
    updated_at: Moment

    @classmethod
    def of(cls, row: RowMapping) -> Self:
        """Read a row of ``runs``."""
        return cls(**{name: row[name] for name in cls.model_fields})


class RunInDetail(IntentAudienceRun):
    """A run with what changed since the run before: the newest earlier completed one of the same config."""

    compared_with: UUID | None = Field(description="The run before; null where there is none.")
    people_new: int | None = Field(description="People who were not in the run before; null until they are counted.")
    people_left: int | None = Field(description="People of the run before who are gone; null likewise.")
    anomaly: Literal["fell_to_zero", "jumped", "dropped"] | None = Field(
        description="How the number of results differs strangely from that of the run before, if it does."
    )
    held: bool = Field(description="Whether audienceSize and mails wait until somebody has looked at the anomaly.")


class RunRequest(Asked):
    """What is asked for when a run is queued."""

    run_type: Literal["manual"] = Field("manual", description="Daily runs are queued by the scheduler.")
