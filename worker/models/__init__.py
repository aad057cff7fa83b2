"""
The Postgres tables.

Constraints are the rules: a doubled tick, bell or key is answered here. The migrations carry what SQLAlchemy cannot
say (the trigger on ``runs.status``, storage parameters); a test holds the two together.
"""

from worker.models.announcing import exports, ready_emails
from worker.models.audiences import audiences
from worker.models.base import metadata
from worker.models.erasing import erasures, rewrites
from worker.models.operators import audit, organization_limits
from worker.models.runs import idempotency_keys, run_attempts, runs
from worker.models.system import api_keys, counted, data_dates, serving_indexes, ticks, totals, workers

__all__ = [
    "api_keys",
    "audiences",
    "audit",
    "counted",
    "data_dates",
    "erasures",
    "exports",
    "idempotency_keys",
    "metadata",
    "organization_limits",
    "ready_emails",
    "rewrites",
    "run_attempts",
    "runs",
    "serving_indexes",
    "ticks",
    "totals",
    "workers",
]
