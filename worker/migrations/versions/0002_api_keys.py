"""The keys of the HTTP side."""

from importlib import resources

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create the table of API keys."""
    sql = resources.files("worker") / "migrations" / "postgres" / "0002_api_keys.sql"
    # Straight to the driver: SQLAlchemy would read percent signs and colons as places for parameters.
    op.get_bind().connection.cursor().execute(sql.read_text())


def downgrade() -> None:
    """Drop them: every client then needs a new key."""
    op.drop_table("api_keys")
