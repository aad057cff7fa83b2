"""Bells that commands ring after their commit."""

from cli import output
from worker import app


def ring_for(queue: str, bells: int = 1) -> None:
    """Tell a queue's workers; what Redis does not take, the scheduler's next pass makes up for."""
    if not app.ring(queue, bells) and not app.answers():
        output.complain("Redis cannot be reached: what is queued starts when it is back.")
