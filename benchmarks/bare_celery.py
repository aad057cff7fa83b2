"""
A bare Celery app: each audience a task, no queue of its own, no claim, no completion.

``python -m benchmarks.bare_celery FIRST COUNT`` sends tasks.
"""

import os
import sys
import time

from celery import Celery

from benchmarks import journal

app = Celery("bare", broker=os.environ.get("BENCHMARK_BROKER"))
app.conf.task_ignore_result = True
app.conf.broker_connection_retry_on_startup = True


@app.task(name="bare.work")
def work(number: int, queued: float) -> None:
    """Work on one audience."""
    journal.work(number, queued)


def main() -> None:
    """Send so many tasks, one after another."""
    first, count = map(int, sys.argv[1:])
    for number in range(first, first + count):
        app.send_task("bare.work", (number, time.time()))


if __name__ == "__main__":
    main()
