"""The figures of /metrics."""

from importlib import resources

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Create the tables of totals, and the index that finds the mails to count."""
    sql = resources.files("worker") / "migrations" / "postgres" / "0003_figures.sql"
    # Straight to the driver: SQLAlchemy would read percent signs and colons as places for parameters.
    op.get_bind().connection.cursor().execute(sql.read_text())


def downgrade() -> None:
    """Drop them: counters then begin at what Postgres still holds."""
    op.drop_index("ready_emails_settled", "ready_emails")
    op.drop_table("counted")
    op.drop_table("totals")
