"""The serving index, and runs that share a statement."""

from importlib import resources

from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add the table of indexes and the batch of a run."""
    sql = resources.files("worker") / "migrations" / "postgres" / "0008_serving.sql"
    # Straight to the driver: SQLAlchemy would read percent signs and colons as places for parameters.
    op.get_bind().connection.cursor().execute(sql.read_text())


def downgrade() -> None:
    """Take them away; what ClickHouse holds of an index is no longer read."""
    op.drop_table("serving_indexes")
    op.drop_column("runs", "batch")
