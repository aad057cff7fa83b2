"""What changed since the run before."""

from importlib import resources

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add what a completed run is compared with, and what came of it."""
    sql = resources.files("worker") / "migrations" / "postgres" / "0006_changes.sql"
    # Straight to the driver: SQLAlchemy would read percent signs and colons as places for parameters.
    op.get_bind().connection.cursor().execute(sql.read_text())


def downgrade() -> None:
    """Take it away with its constraints and indexes; mails that were held back are never queued."""
    for name in ("held", "anomaly", "people_left", "people_new", "compared_with"):
        op.drop_column("runs", name)
