"""Run Alembic over the connection that :mod:`worker.migrate` hands in."""

from alembic import context

from worker import models

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=models.metadata,
    transaction_per_migration=False,
)
with context.begin_transaction():
    context.run_migrations()
