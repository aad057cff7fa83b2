"""What the tables are built of."""

from sqlalchemy import BigInteger, Column, DateTime, ForeignKeyConstraint, MetaData, Text, func

metadata = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "fk": "%(table_name)s_%(column_0_name)s_fkey",
        "uq": "%(table_name)s_%(column_0_name)s_key",
        "ck": "%(table_name)s_%(constraint_name)s",
    }
)


def moment(name: str, **options: bool) -> Column[object]:
    """Build a timestamptz column."""
    return Column(name, DateTime(timezone=True), **options)  # type: ignore[arg-type]


def now(name: str) -> Column[object]:
    """Build a timestamptz column that is set at insertion."""
    return Column(name, DateTime(timezone=True), nullable=False, server_default=func.now())


def born() -> tuple[Column[object], Column[object]]:
    """Build created_at and updated_at; every writer of a row moves the second."""
    return (now("created_at"), now("updated_at"))


def claim() -> tuple[Column[object], ...]:
    """Build what every claimed row carries: when it is due, who holds it, until when, and the fence."""
    return (
        moment("due_at", nullable=False),
        Column("fence", BigInteger, nullable=False, server_default="0"),
        Column("claimed_by", Text),
        moment("lease_expires_at"),
    )


def own(column: str, table: str, *, name: str | None = None, ondelete: str | None = None) -> ForeignKeyConstraint:
    """Build a foreign key that cannot leave its tenant: the organization goes with it."""
    there = [f"{table}.organization_id", f"{table}.id"]
    return ForeignKeyConstraint(["organization_id", column], there, name=name, ondelete=ondelete)
