"""What operators did by hand, and whom they have limited."""

from sqlalchemy import CheckConstraint, Column, Index, Integer, Table, Text, Uuid

from worker.models.base import born, metadata, now

audit = Table(
    "audit",
    metadata,
    Column("id", Uuid, primary_key=True),
    now("at"),
    *(Column(name, Text, nullable=False) for name in ("who", "verb", "object")),
    CheckConstraint("char_length(who) BETWEEN 1 AND 100", name="who_length"),
    Index("audit_newest", "at"),
)


organization_limits = Table(
    "organization_limits",
    metadata,
    Column("organization_id", Uuid, primary_key=True),
    Column("statements", Integer, nullable=False),
    *born(),
    CheckConstraint("statements BETWEEN 0 AND 1000", name="statements_bounds"),
)
