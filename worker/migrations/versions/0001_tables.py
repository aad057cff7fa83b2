"""The first tables."""

from importlib import resources

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the tables, their indexes and the trigger that guards a run's life."""
    sql = resources.files("worker") / "migrations" / "postgres" / "0001_tables.sql"
    # Straight to the driver: SQLAlchemy would read the percent signs of the trigger as places for parameters.
    op.get_bind().connection.cursor().execute(sql.read_text())


def downgrade() -> None:
    """Refuse: dropping the truth is no step of a deployment."""
    raise NotImplementedError("There is no way back from the first tables.")
