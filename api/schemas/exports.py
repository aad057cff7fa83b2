"""Stored exports, as clients see them."""

from typing import Literal, Self
from uuid import UUID

from pydantic import Field
from sqlalchemy import RowMapping

from api.schemas.base import Moment, Schema
from worker.follow import Offer


class IntentAudienceExport(Schema):
    """The stored CSV of a completed run, and for a while a link to its bytes."""

    id: UUID
    organization_id: UUID
    audience_id: UUID
    run_id: UUID
    export_type: Literal["csv"]
    status: Literal["processing", "completed", "failed"]
    storage_provider: Literal["local", "s3"] | None = Field(description="Where the file is; null until completed.")
    content_type: str = Field(examples=["text/csv; charset=utf-8"])
    byte_size: int | None = Field(ge=0, examples=[48213])
    row_count: int | None = Field(ge=0, description="Data rows, the header not counted.", examples=[120])
    bucket_name: str | None = Field(description="Null where a folder holds the file.", examples=["exports"])
    file_id: str | None = Field(
        description="The file's name in storage.", examples=["0f4c3c1e-6a39-4f0e-9b1c-0d6f3a0c7b11/1.csv"]
    )
    file_name: str = Field(examples=["audience-run-0f4c3c1e-6a39-4f0e-9b1c-0d6f3a0c7b11.csv"])
    content_sha1: str | None = Field(
        description="SHA-1 of the bytes, 40 hex characters.", examples=["da39a3ee5e6b4b0d3255bfef95601890afd80709"]
    )
    error_code: str | None = Field(
        description="Why it failed, or why its last attempt did.", examples=[None, "STORAGE_UNAVAILABLE"]
    )
    error_message: str | None
    requested_by: UUID | None = Field(
        description="The API key that asked for it; null where it was stored as the run completed."
    )
    completed_at: Moment | None
    expires_at: Moment | None = Field(description="From then on there is no link; asking again makes the file anew.")
    created_at: Moment
    updated_at: Moment
    download_url: str | None = Field(
        description="A signed link to the bytes that needs no key; null until completed and after expiry.",
        examples=["https://audiences.example.com/v1/intent/files/AAEC.c2lnbmVk"],
    )
    download_url_expires_at: Moment | None
    download_url_ttl_seconds: int | None = Field(ge=1, le=300, description="How long the link works.", examples=[300])

    @classmethod
    def of(cls, row: RowMapping, link: Offer | None) -> Self:
        """
        Read a row of ``exports``.

        :param link: None where there is no file to give
        """
        shown = {name: row[name] for name in cls.model_fields if not name.startswith("download_url")}
        url, expires_at, seconds = (link.url, link.expires_at, link.seconds) if link else (None, None, None)
        return cls(**shown, download_url=url, download_url_expires_at=expires_at, download_url_ttl_seconds=seconds)
