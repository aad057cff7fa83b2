"""
Procrastinate: each audience a job.

It is run by an interpreter that has procrastinate beside the project's own libraries.
"""

import os
import sys
import time

from procrastinate import App, PsycopgConnector

from benchmarks import journal

app = App(connector=PsycopgConnector(conninfo=os.environ["BENCHMARK_DATABASE"]))
AT_ONCE = 1000


@app.task(name="bare.work")
def work(number: int, queued: float) -> None:
    """Work on one audience."""
    journal.work(number, queued)


def main() -> None:
    """Defer so many jobs, from a first number on, many at once, which is the fastest way."""
    first, count = map(int, sys.argv[1:])
    with app.open():
        for start in range(first, first + count, AT_ONCE):
            numbers = range(start, min(start + AT_ONCE, first + count))
            work.batch_defer(*({"number": number, "queued": time.time()} for number in numbers))
