"""
The Postgres tables on one page.

Constraints are the rules: a doubled tick, bell or key is answered here. The migrations carry what SQLAlchemy cannot
say (the trigger on ``runs.status``, storage parameters); a test holds the two together.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    Date,
    DateTime,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

metadata = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "fk": "%(table_name)s_%(column_0_name)s_fkey",
        "uq": "%(table_name)s_%(column_0_name)s_key",
        "ck": "%(table_name)s_%(constraint_name)s",
    }
)


def _moment(name: str, **options: bool) -> Column[object]:
    """Build a timestamptz column."""
    return Column(name, DateTime(timezone=True), **options)  # type: ignore[arg-type]


def _now(name: str) -> Column[object]:
    """Build a timestamptz column that is set at insertion."""
    return Column(name, DateTime(timezone=True), nullable=False, server_default=func.now())


def _born() -> tuple[Column[object], Column[object]]:
    """Build created_at and updated_at; every writer of a row moves the second."""
    return (_now("created_at"), _now("updated_at"))


def _claim() -> tuple[Column[object], ...]:
    """Build what every claimed row carries: when it is due, who holds it, until when, and the fence."""
    return (
        _moment("due_at", nullable=False),
        Column("fence", BigInteger, nullable=False, server_default="0"),
        Column("claimed_by", Text),
        _moment("lease_expires_at"),
    )


def _own(column: str, table: str, *, name: str | None = None, ondelete: str | None = None) -> ForeignKeyConstraint:
    """Build a foreign key that cannot leave its tenant: the organization goes with it."""
    there = [f"{table}.organization_id", f"{table}.id"]
    return ForeignKeyConstraint(["organization_id", column], there, name=name, ondelete=ondelete)


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
    _moment("next_slot_at"),
    _moment("next_due_at"),
    Column("last_daily_date", Date),
    Column("audience_size", BigInteger, nullable=False, server_default="0"),
    _moment("last_refreshed_at"),
    Column("refreshed_by_run_id", Uuid),
    _moment("deleted_at"),
    *_born(),
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

runs = Table(
    "runs",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("organization_id", Uuid, nullable=False),
    Column("audience_id", Uuid, nullable=False),
    Column("status", Text, nullable=False),
    Column("run_type", Text, nullable=False),
    Column("lane", Text, nullable=False),
    Column("priority", SmallInteger, nullable=False, server_default="5"),
    Column("config", JSONB, nullable=False),
    Column("config_hash", Text, nullable=False),
    Column("data_date", Date, nullable=False),
    Column("result_key", Text, Computed("'res_' || replace(id::text, '-', '')", persisted=True), nullable=False),
    Column("candidate_count", BigInteger, nullable=False, server_default="0"),
    Column("result_count", BigInteger, nullable=False, server_default="0"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("failures", Integer, nullable=False, server_default="0"),
    Column("solo", Boolean, nullable=False, server_default="false"),
    *_claim(),
    _moment("next_attempt_at"),
    _moment("first_claimed_at"),
    Column("idempotency_key", Text),
    Column("retry_of", Uuid),
    Column("error_code", Text),
    Column("error_message", Text),
    Column("snapshot_key", Uuid),
    Column("written_on", Date),
    _moment("results_expire_at"),
    Column("csv_defused", Boolean),
    *(_moment(name) for name in ("started_at", "completed_at", "cancelled_at", "finished_at", "ready_email_sent_at")),
    Column("ready_email_export_id", Uuid),
    Column("ready_email_error", Text),
    *_born(),
    _own("audience_id", "audiences"),
    _own("retry_of", "runs", name="runs_retry_of_fkey", ondelete="SET NULL (retry_of)"),
    UniqueConstraint("organization_id", "id"),
    CheckConstraint("status IN ('queued', 'running', 'completed', 'failed', 'cancelled')", name="status_known"),
    CheckConstraint("run_type IN ('manual', 'daily', 'preview')", name="run_type_known"),
    CheckConstraint("lane IN ('manual', 'daily')", name="lane_known"),
    CheckConstraint("priority BETWEEN 0 AND 9", name="priority_bounds"),
    CheckConstraint(
        "candidate_count >= result_count AND result_count >= 0 AND attempts >= 0 AND failures >= 0",
        name="counts_sane",
    ),
    CheckConstraint("char_length(idempotency_key) BETWEEN 1 AND 120", name="idempotency_key_length"),
    CheckConstraint(
        "(status = 'running') = (claimed_by IS NOT NULL AND lease_expires_at IS NOT NULL)"
        " AND (claimed_by IS NULL) = (lease_expires_at IS NULL)",
        name="leased_when_running",
    ),
    CheckConstraint("next_attempt_at IS NULL OR status = 'queued'", name="next_attempt_when_queued"),
    CheckConstraint(
        "(status = 'completed') = (completed_at IS NOT NULL AND snapshot_key IS NOT NULL AND written_on IS NOT NULL"
        " AND results_expire_at IS NOT NULL AND csv_defused IS NOT NULL)",
        name="published_when_completed",
    ),
    CheckConstraint("(status = 'cancelled') = (cancelled_at IS NOT NULL)", name="cancelled_with_time"),
    CheckConstraint("(status IN ('completed', 'failed', 'cancelled')) = (finished_at IS NOT NULL)", name="finished"),
    CheckConstraint("status <> 'failed' OR error_code IS NOT NULL", name="failed_with_code"),
    CheckConstraint("status <> 'completed' OR error_code IS NULL", name="completed_without_code"),
    CheckConstraint("(error_code IS NULL) = (error_message IS NULL)", name="code_with_sentence"),
    Index(
        "runs_one_manual_in_flight",
        *("audience_id", "config_hash", "data_date"),
        unique=True,
        postgresql_where=text("run_type = 'manual' AND status IN ('queued', 'running')"),
    ),
    Index(
        "runs_one_daily",
        *("audience_id", "data_date"),
        unique=True,
        postgresql_where=text("run_type = 'daily' AND status NOT IN ('failed', 'cancelled')"),
    ),
    Index("runs_due", "lane", "organization_id", "priority", "due_at", postgresql_where=text("status = 'queued'")),
    Index("runs_leased", "lease_expires_at", postgresql_where=text("status = 'running'")),
    Index("runs_finished", "finished_at", postgresql_where=text("finished_at IS NOT NULL")),
    Index("runs_of_audience", "audience_id", "created_at"),
    Index("runs_newest", "created_at"),
    Index("runs_retried", "retry_of", postgresql_where=text("retry_of IS NOT NULL")),
    postgresql_with={"fillfactor": "80"},
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("organization_id", Uuid, nullable=False),
    Column("audience_id", Uuid, nullable=False),
    Column("key", Text, nullable=False),
    Column("run_id", Uuid, nullable=False),
    _now("created_at"),
    PrimaryKeyConstraint("audience_id", "key"),
    _own("audience_id", "audiences", name="idempotency_keys_audience_id_fkey"),
    _own("run_id", "runs", name="idempotency_keys_run_id_fkey", ondelete="CASCADE"),
    CheckConstraint("char_length(key) BETWEEN 1 AND 120", name="key_length"),
    Index("idempotency_keys_run", "run_id"),
)

run_attempts = Table(
    "run_attempts",
    metadata,
    Column("run_id", Uuid, ForeignKey("runs.id", ondelete="CASCADE"), nullable=False),
    Column("fence", BigInteger, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("charged", Boolean, nullable=False, server_default="false"),
    Column("worker", Text, nullable=False),
    Column("batch", Uuid),
    Column("strategy", Text),
    Column("query_ids", ARRAY(Text), nullable=False, server_default="{}"),
    Column("snapshot_key", Uuid),
    *(Column(name, BigInteger) for name in ("data_version", "people_version")),
    _now("started_at"),
    _moment("ended_at"),
    Column("outcome", Text),
    Column("error_code", Text),
    Column("error_message", Text),
    *(Column(name, BigInteger) for name in ("read_rows", "read_bytes", "written_rows", "memory_bytes", "elapsed_ms")),
    PrimaryKeyConstraint("run_id", "fence"),
    CheckConstraint("(ended_at IS NULL) = (outcome IS NULL)", name="outcome_when_ended"),
    CheckConstraint("outcome IN ('completed', 'retried', 'failed', 'released', 'rescued')", name="outcome_known"),
)

data_dates = Table(
    "data_dates",
    metadata,
    Column("data_date", Date, primary_key=True),
    Column("data_version", BigInteger, nullable=False),
    Column("people_version", BigInteger, nullable=False),
    Column("rows", BigInteger, nullable=False),
    _now("ready_at"),
    CheckConstraint("rows > 0", name="rows_some"),
)

exports = Table(
    "exports",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("organization_id", Uuid, nullable=False),
    Column("audience_id", Uuid, nullable=False),
    Column("run_id", Uuid, nullable=False, unique=True),
    Column("export_type", Text, nullable=False, server_default="csv"),
    Column("status", Text, nullable=False, server_default="processing"),
    *_claim(),
    Column("failures", Integer, nullable=False, server_default="0"),
    Column("storage_provider", Text),
    Column("content_type", Text, nullable=False, server_default="text/csv; charset=utf-8"),
    Column("byte_size", BigInteger),
    Column("row_count", BigInteger),
    Column("file_name", Text, nullable=False),
    *(Column(name, Text) for name in ("bucket_name", "file_id", "content_sha1", "error_code", "error_message")),
    Column("requested_by", Uuid),
    _moment("completed_at"),
    _moment("expires_at"),
    *_born(),
    _own("audience_id", "audiences", name="exports_audience_id_fkey"),
    _own("run_id", "runs", ondelete="CASCADE"),
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
    Index("exports_due", "due_at", postgresql_where=text("status = 'processing'")),
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
    *_claim(),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("message_id", Text, nullable=False, unique=True),
    _moment("sent_at"),
    Column("error", Text),
    *_born(),
    _own("run_id", "runs", ondelete="CASCADE"),
    UniqueConstraint("run_id", "recipient", "generation"),
    CheckConstraint("status IN ('pending', 'sending', 'sent', 'failed', 'unknown', 'skipped')", name="status_known"),
    CheckConstraint("(status = 'sent') = (sent_at IS NOT NULL)", name="sent_with_time"),
    CheckConstraint("(claimed_by IS NULL) = (lease_expires_at IS NULL)", name="leased_when_claimed"),
    CheckConstraint("status <> 'sending' OR claimed_by IS NOT NULL", name="claimed_when_sending"),
    CheckConstraint("status IN ('pending', 'sending') OR claimed_by IS NULL", name="free_when_settled"),
    Index("ready_emails_due", "due_at", postgresql_where=text("status IN ('pending', 'sending')")),
)

workers = Table(
    "workers",
    metadata,
    Column("name", Text, primary_key=True),
    Column("lane", Text, nullable=False),
    Column("version", Text, nullable=False),
    _now("started_at"),
    _now("last_claim_at"),
)

ticks = Table(
    "ticks",
    metadata,
    Column("name", Text, primary_key=True),
    _moment("passed_at", nullable=False),
)
