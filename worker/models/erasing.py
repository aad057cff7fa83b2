"""Erasures, and the snapshots that they write anew."""

from sqlalchemy import CheckConstraint, Column, Date, ForeignKey, Index, Integer, Numeric, Table, Text, Uuid
from sqlalchemy.dialects.postgresql import ARRAY

from worker.models.base import metadata, moment, now

erasures = Table(
    "erasures",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("hem_hash", Numeric(20, 0), nullable=False, unique=True),
    Column("status", Text, nullable=False, server_default="running"),
    Column("snapshots", Integer, nullable=False, server_default="0"),
    Column("runs", Integer, nullable=False, server_default="0"),
    now("asked_at"),
    moment("finished_at"),
    CheckConstraint("hem_hash BETWEEN 0 AND 18446744073709551615", name="hem_hash_bounds"),
    CheckConstraint("status IN ('running', 'finished')", name="status_known"),
    CheckConstraint("(status = 'finished') = (finished_at IS NOT NULL)", name="finished"),
)


rewrites = Table(
    "rewrites",
    metadata,
    Column("new_key", Uuid, primary_key=True),
    Column("erasure_id", Uuid, ForeignKey("erasures.id", ondelete="CASCADE"), nullable=False),
    Column("old_key", Uuid, nullable=False),
    Column("written_on", Date, nullable=False),
    Column("run_ids", ARRAY(Uuid)),
    Index("rewrites_erasure", "erasure_id"),
)
