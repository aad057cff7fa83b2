"""What Postgres itself refuses, and that models and migrations say the same."""

import itertools

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from worker import migrate, models
from worker.database import transaction

STATUSES = ("queued", "running", "completed", "failed", "cancelled")
ARROWS = {
    ("queued", "running"),
    ("queued", "cancelled"),
    ("running", "queued"),
    ("running", "completed"),
    ("running", "failed"),
}


def test_models_and_migrations_say_the_same(stores):
    """Autogenerating a migration over a migrated database finds nothing to do."""
    with transaction() as connection:
        found = compare_metadata(MigrationContext.configure(connection), models.metadata)

    assert [] == found


def test_migrating_twice_changes_nothing(stores):
    """A second migration applies the same statements without complaint."""
    first = migrate.migrate()

    assert first == migrate.migrate()
