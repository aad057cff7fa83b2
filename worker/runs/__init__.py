"""A run's life, and the only writer of its status."""

from worker.runs.claim import Claim, claim, record, renew
from worker.runs.finish import (
    Abandoned,
    Published,
    cancel,
    cancel_queued,
    complete,
    completed,
    release,
    take_over,
)
from worker.runs.queue import Queued, queue, queue_daily
from worker.runs.read import attempts, due, get, latest
from worker.runs.setback import set_back

__all__ = [
    "Abandoned",
    "Claim",
    "Published",
    "Queued",
    "attempts",
    "cancel",
    "cancel_queued",
    "claim",
    "complete",
    "completed",
    "due",
    "get",
    "latest",
    "queue",
    "queue_daily",
    "record",
    "release",
    "renew",
    "set_back",
    "take_over",
]
