"""
Ready emails: one row a recipient, queued with the run that completes, sent once.

    pending ── claim ── sending ──► sent
       ▲                   │ ├────► failed      refused for good, or for too long
       └── set_back ───────┘ └────► unknown     the worker or the line broke after the text was handed over
    pending ──────────────────────► skipped     the audience was paused or deleted, or the recipient left it

``sending`` is committed after the server accepted the recipient and before it gets the text: a mail found in that
state later may have arrived, and is never sent again by itself. The three ready-email columns of ``runs`` are written
here and nowhere else; whoever settles a mail locks its run first, so that the last one sees all the others.
"""

from worker.emails.claim import Claim, claim, due, release, renew
from worker.emails.finish import UNKNOWN, expired, sending, set_back, settle, wait_seconds
from worker.emails.queue import again, latest, queue, told

__all__ = [
    "UNKNOWN",
    "Claim",
    "again",
    "claim",
    "due",
    "expired",
    "latest",
    "queue",
    "release",
    "renew",
    "sending",
    "set_back",
    "settle",
    "told",
    "wait_seconds",
]
