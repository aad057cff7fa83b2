"""
The statuses, and the run type, that statements name as literals.

With a bound value a generic plan would lose the partial indexes.
"""

from sqlalchemy import ColumnElement, literal_column

QUEUED: ColumnElement[str] = literal_column("'queued'")
RUNNING: ColumnElement[str] = literal_column("'running'")
COMPLETED: ColumnElement[str] = literal_column("'completed'")
PREVIEW: ColumnElement[str] = literal_column("'preview'")
