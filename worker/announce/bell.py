"""A bell's work on the announce queue, and what ticks ask of it."""

import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from worker import emails, exports, log, presence, settings
from worker.announce.export import next_export
from worker.announce.mail import next_mails
from worker.database import transaction

logger = log.get(__name__)

MOST_A_PASS: Final = 200

Half = Callable[[], tuple[list[str], bool]]
"""What does a little of one kind of work: outcomes, and whether to go on with that kind."""


def announce(worker: str, *, seconds: float, stopping: Callable[[], bool]) -> dict[str, Any]:
    """
    Write due exports and send due mails, and return what came of them.

    The counts are ``exports_{outcome}`` and ``mails_{outcome}``; ``more`` says that time, not work, ran out.

    :param worker: this worker's name, written on every claim
    :param seconds: how long new work is started
    :param stopping: asked between pages and mails; once true, nothing new is started
    """
    started = time.monotonic()
    counts: Counter[str] = Counter()

    def going() -> bool:
        return time.monotonic() < started + seconds and not stopping()

    with transaction() as connection:
        presence.seen(connection, worker, "announce")
    halves: list[Half] = [lambda: next_export(worker, stopping), lambda: next_mails(worker, going)]
    busy = True
    while halves and busy and going():
        done = [half() for half in halves]
        for outcomes, _ in done:
            counts.update(outcomes)
        busy = any(outcomes for outcomes, _ in done)
        halves = [half for half, (_, goes_on) in zip(halves, done, strict=True) if goes_on]
    more = bool(halves) and busy and due() > 0
    return {**counts, "more": more, "seconds": round(time.monotonic() - started, 3)}


def due(*, now: datetime | None = None) -> int:
    """Count due exports and mails, each up to a limit: a bell needs to know "many", not how many."""
    with transaction() as connection:
        waiting = exports.due(connection, limit=MOST_A_PASS, now=now)
        return waiting + emails.due(connection, limit=MOST_A_PASS, now=now)


def rescue(*, now: datetime | None = None) -> dict[str, int]:
    """Take back the exports and mails of workers that stopped answering, and return the counts."""
    current = settings.current()
    with transaction() as connection:
        files = exports.expired(connection, budget=current.charged_budget, limit=MOST_A_PASS, now=now)
        mails = emails.expired(connection, limit=MOST_A_PASS, hours=current.mail_hours, now=now)
    counts = {f"exports_{outcome}": count for outcome, count in files.items()}
    counts |= {f"mails_{outcome}": count for outcome, count in mails.items()}
    if any(counts.values()):
        logger.warning("announcements_rescued", **counts)
    return counts
