"""What the system knows of its data, its workers and its clients."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    Double,
    Index,
    Integer,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
)
from sqlalchemy.dialects.postgresql import ARRAY

from worker.models.base import claim, metadata, moment, now

data_dates = Table(
    "data_dates",
    metadata,
    Column("data_date", Date, primary_key=True),
    Column("data_version", BigInteger, nullable=False),
    Column("people_version", BigInteger, nullable=False),
    Column("rows", BigInteger, nullable=False),
    now("ready_at"),
    CheckConstraint("rows > 0", name="rows_some"),
)


serving_indexes = Table(
    "serving_indexes",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("data_date", Date, nullable=False),
    *(Column(name, BigInteger, nullable=False) for name in ("data_version", "people_version", "plan_version")),
    Column("status", Text, nullable=False, server_default="building"),
    Column("pieces", ARRAY(BigInteger), nullable=False, server_default="{}"),
    Column("pieces_wanted", Integer, nullable=False),
    *claim(),
    Column("failures", Integer, nullable=False, server_default="0"),
    Column("error_code", Text),
    now("wanted_at"),
    moment("ready_at"),
    UniqueConstraint("data_date", "data_version", "people_version", "plan_version"),
    CheckConstraint("status IN ('building', 'ready', 'dropped')", name="status_known"),
    CheckConstraint("(claimed_by IS NULL) = (lease_expires_at IS NULL)", name="leased_when_claimed"),
    CheckConstraint("status = 'building' OR claimed_by IS NULL", name="claimed_when_building"),
    CheckConstraint("status <> 'ready' OR cardinality(pieces) = pieces_wanted", name="whole_when_ready"),
    CheckConstraint("(status = 'building') = (ready_at IS NULL)", name="ready_with_time"),
    CheckConstraint("pieces_wanted > 0 AND cardinality(pieces) <= pieces_wanted", name="pieces_some"),
)


workers = Table(
    "workers",
    metadata,
    Column("name", Text, primary_key=True),
    Column("lane", Text, nullable=False),
    Column("version", Text, nullable=False),
    now("started_at"),
    now("last_claim_at"),
)


ticks = Table(
    "ticks",
    metadata,
    Column("name", Text, primary_key=True),
    moment("passed_at", nullable=False),
)

totals = Table(
    "totals",
    metadata,
    *(Column(name, Text, primary_key=True) for name in ("name", "first", "second")),
    Column("value", Double, nullable=False),
    CheckConstraint("value >= 0", name="value_sane"),
)


counted = Table(
    "counted",
    metadata,
    Column("one", Boolean, primary_key=True, server_default="true"),
    moment("until", nullable=False),
    CheckConstraint("one", name="one_row"),
)


api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("organization_id", Uuid, nullable=False),
    Column("name", Text, nullable=False),
    Column("prefix", Text, nullable=False, unique=True),
    Column("hash", Text, nullable=False),
    now("created_at"),
    moment("last_used_at"),
    moment("revoked_at"),
    CheckConstraint("char_length(name) BETWEEN 1 AND 100", name="name_length"),
    CheckConstraint("prefix ~ '^[0-9A-Za-z]{8}$'", name="prefix_form"),
    CheckConstraint("hash ~ '^[0-9a-f]{64}$'", name="hash_hex"),
    Index("api_keys_organization", "organization_id"),
)
