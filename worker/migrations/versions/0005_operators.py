"""What operators do by hand, and whom they have limited."""

from importlib import resources

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Create the audit and the limits of organizations."""
    sql = resources.files("worker") / "migrations" / "postgres" / "0005_operators.sql"
    # Straight to the driver: SQLAlchemy would read percent signs and colons as places for parameters.
    op.get_bind().connection.cursor().execute(sql.read_text())


def downgrade() -> None:
    """Drop both: nobody is limited then."""
    op.drop_table("organization_limits")
    op.drop_table("audit")
