"""The statuses that statements name as literals: with a bound value a generic plan would lose the partial indexes."""

from sqlalchemy import ColumnElement, literal_column

QUEUED: ColumnElement[str] = literal_column("'queued'")
RUNNING: ColumnElement[str] = literal_column("'running'")
