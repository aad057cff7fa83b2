"""Saved definitions."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    Index,
    Integer,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from worker.models.base import born, metadata, moment

audiences = Table(
    "audiences",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("organization_id", Uuid, nullable=False),
    Column("name", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("config", JSONB, nullable=False),
    Column("config_hash", Text, nullable=False),
    Column("source_url", Text),
    Column("notify_emails", ARRAY(Text), nullable=False, server_default="{}"),
    Column("notify_on_manual", Boolean, nullable=False, server_default="false"),
    Column("refresh_cron", Text, nullable=False, server_default="0 6 * * *"),
    Column("refresh_window_minutes", Integer, nullable=False, server_default="60"),
    Column("timezone", Text, nullable=False, server_default="UTC"),
    Column("daily_refresh_enabled", Boolean, nullable=False, server_default="true"),
    moment("next_slot_at"),
    moment("next_due_at"),
    Column("last_daily_date", Date),
    Column("audience_size", BigInteger, nullable=False, server_default="0"),
    moment("last_refreshed_at"),
    Column("refreshed_by_run_id", Uuid),
    moment("deleted_at"),
    *born(),
    UniqueConstraint("organization_id", "id"),
    CheckConstraint("char_length(name) BETWEEN 1 AND 255", name="name_length"),
    CheckConstraint("status IN ('draft', 'active', 'paused')", name="status_known"),
    CheckConstraint("config_hash ~ '^[0-9a-f]{64}$'", name="config_hash_hex"),
    CheckConstraint("cardinality(notify_emails) <= 20", name="notify_emails_few"),
    CheckConstraint("refresh_window_minutes BETWEEN 0 AND 1439", name="refresh_window_bounds"),
    CheckConstraint("(next_slot_at IS NULL) = (next_due_at IS NULL)", name="slot_with_due"),
    CheckConstraint(
        "(status = 'active' AND daily_refresh_enabled AND deleted_at IS NULL) = (next_due_at IS NOT NULL)",
        name="due_when_refreshed",
    ),
    Index("audiences_due", "next_due_at", postgresql_where=text("next_due_at IS NOT NULL")),
)
