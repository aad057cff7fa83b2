"""Snapshots that runs share."""

from importlib import resources

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add what says whether a snapshot may be shared, and the index that finds it."""
    sql = resources.files("worker") / "migrations" / "postgres" / "0004_shared.sql"
    # Straight to the driver: SQLAlchemy would read percent signs and colons as places for parameters.
    op.get_bind().connection.cursor().execute(sql.read_text())


def downgrade() -> None:
    """Take it away; snapshots that are shared stay so."""
    op.drop_index("runs_shareable", "runs")
    op.drop_column("run_attempts", "plan_version")
    op.drop_column("runs", "recompute")
