"""A run's life, and the only writer of its status."""

from worker.runs.claim import Claim, claim, record, renew
from worker.runs.finish import Published, cancel, cancel_queued, complete, completed, release
from worker.runs.overdue import RESCUER, Abandoned, take_over
from worker.runs.prune import forget, forget_attempts, outlived
from worker.runs.queue import Queued, answered, queue, queue_daily
from worker.runs.read import attempts, due, get, in_flight, latest, progress
from worker.runs.rewrite import expire_previews, republish, showing, under_way
from worker.runs.setback import set_back
from worker.runs.share import shareable

__all__ = [
    "RESCUER",
    "Abandoned",
    "Claim",
    "Published",
    "Queued",
    "answered",
    "attempts",
    "cancel",
    "cancel_queued",
    "claim",
    "complete",
    "completed",
    "due",
    "expire_previews",
    "forget",
    "forget_attempts",
    "get",
    "in_flight",
    "latest",
    "outlived",
    "progress",
    "queue",
    "queue_daily",
    "record",
    "release",
    "renew",
    "republish",
    "set_back",
    "shareable",
    "showing",
    "take_over",
    "under_way",
]
