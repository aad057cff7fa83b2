"""Stored exports and ready emails."""

from sqlalchemy import BigInteger, CheckConstraint, Column, Index, Integer, Table, Text, UniqueConstraint, Uuid, text

from worker.models.base import born, claim, metadata, moment, own

exports = Table(
    "exports",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("organization_id", Uuid, nullable=False),
    Column("audience_id", Uuid, nullable=False),
    Column("run_id", Uuid, nullable=False, unique=True),
    Column("export_type", Text, nullable=False, server_default="csv"),
    Column("status", Text, nullable=False, server_default="processing"),
    *claim(),
    Column("failures", Integer, nullable=False, server_default="0"),
    Column("storage_provider", Text),
    Column("content_type", Text, nullable=False, server_default="text/csv; charset=utf-8"),
    Column("byte_size", BigInteger),
    Column("row_count", BigInteger),
    Column("file_name", Text, nullable=False),
    *(Column(name, Text) for name in ("bucket_name", "file_id", "content_sha1", "error_code", "error_message")),
    Column("requested_by", Uuid),
    moment("completed_at"),
    moment("expires_at"),
    moment("removed_at"),
    *born(),
    own("audience_id", "audiences", name="exports_audience_id_fkey"),
    own("run_id", "runs", ondelete="CASCADE"),
    UniqueConstraint("organization_id", "id"),
    CheckConstraint("status IN ('processing', 'completed', 'failed')", name="status_known"),
    CheckConstraint(
        "status <> 'completed' OR (completed_at IS NOT NULL AND expires_at IS NOT NULL AND file_id IS NOT NULL"
        " AND byte_size IS NOT NULL AND row_count IS NOT NULL AND content_sha1 IS NOT NULL)",
        name="stored_when_completed",
    ),
    CheckConstraint("status <> 'failed' OR error_code IS NOT NULL", name="failed_with_code"),
    CheckConstraint("(claimed_by IS NULL) = (lease_expires_at IS NULL)", name="leased_when_claimed"),
    CheckConstraint("status = 'processing' OR claimed_by IS NULL", name="free_when_settled"),
    CheckConstraint("removed_at IS NULL OR status = 'completed'", name="removed_when_expired"),
    Index("exports_due", "due_at", postgresql_where=text("status = 'processing'")),
    Index("exports_kept", "expires_at", postgresql_where=text("status = 'completed' AND removed_at IS NULL")),
)


ready_emails = Table(
    "ready_emails",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("organization_id", Uuid, nullable=False),
    Column("run_id", Uuid, nullable=False),
    Column("recipient", Text, nullable=False),
    Column("generation", Integer, nullable=False, server_default="1"),
    Column("status", Text, nullable=False, server_default="pending"),
    *claim(),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("message_id", Text, nullable=False, unique=True),
    moment("sent_at"),
    Column("error", Text),
    *born(),
    own("run_id", "runs", ondelete="CASCADE"),
    UniqueConstraint("run_id", "recipient", "generation"),
    CheckConstraint("status IN ('pending', 'sending', 'sent', 'failed', 'unknown', 'skipped')", name="status_known"),
    CheckConstraint("(status = 'sent') = (sent_at IS NOT NULL)", name="sent_with_time"),
    CheckConstraint("(claimed_by IS NULL) = (lease_expires_at IS NULL)", name="leased_when_claimed"),
    CheckConstraint("status <> 'sending' OR claimed_by IS NOT NULL", name="claimed_when_sending"),
    CheckConstraint("status IN ('pending', 'sending') OR claimed_by IS NULL", name="free_when_settled"),
    Index("ready_emails_due", "due_at", postgresql_where=text("status IN ('pending', 'sending')")),
    Index("ready_emails_settled", "updated_at", postgresql_where=text("status NOT IN ('pending', 'sending')")),
)
