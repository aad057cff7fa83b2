"""What Postgres itself refuses, and that models and migrations say the same."""

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from worker import migrate, models
from worker.database import transaction


def test_models_and_migrations_say_the_same(stores):
    """Autogenerating a migration over a migrated database finds nothing to do."""
    with transaction() as connection:
        found = compare_metadata(MigrationContext.configure(connection), models.metadata)

    assert [] == found


def test_migrating_twice_changes_nothing(stores):
    """A second migration applies the same statements without complaint."""
    first = migrate.migrate()

    assert first == migrate.migrate()
