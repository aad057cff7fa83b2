"""Retention and erasure."""

from importlib import resources

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add what retention and erasure look for and write down."""
    sql = resources.files("worker") / "migrations" / "postgres" / "0007_erasures.sql"
    # Straight to the driver: SQLAlchemy would read percent signs and colons as places for parameters.
    op.get_bind().connection.cursor().execute(sql.read_text())


def downgrade() -> None:
    """Take it away; ClickHouse goes on leaving erased people out."""
    op.drop_table("rewrites")
    op.drop_table("erasures")
    op.drop_index("runs_showing", "runs")
    op.drop_index("run_attempts_ended", "run_attempts")
    op.drop_index("exports_kept", "exports")
    op.drop_column("exports", "removed_at")
