"""What a run costs beside its ClickHouse statements: the milliseconds of our own."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from typing import Any
from unittest import mock

from worker import clickhouse, drain


def milliseconds(runs: int, batch_runs: int) -> tuple[list[float], list[float]]:
    """
    Drain the daily lane here, at concurrency 1, and return what each claim and its work took a run, in milliseconds.

    :param runs: due now; they fill their batches
    :param batch_runs: how many a claim takes
    :returns: wall time less what ClickHouse reports for its statements, and what it reports
    """
    ours: list[float] = []
    theirs: list[float] = []
    completed = 0
    with _reported() as spent:
        more = True
        while more:
            marks: list[tuple[float, int]] = []
            done = drain.drain("daily", "benchmark@here", stopping=_marking(marks, spent))
            completed, more = completed + done.get("completed", 0), done["more"]
            # The last mark found nothing to claim, or no time left.
            for (began, before), (ended, after) in pairwise(marks):
                reported = (after - before) / 1e6
                ours.append(((ended - began) * 1000 - reported) / batch_runs)
                theirs.append(reported / batch_runs)
    if completed != runs or len(ours) * batch_runs != runs:
        sys.exit(f"{completed} of {runs} runs were completed in {len(ours)} claims.")
    return ours, theirs


def _marking(marks: list[tuple[float, int]], spent: list[int]) -> Callable[[], bool]:
    """Note the time before each claim; a drain asks there whether it is to stop."""

    def stopping() -> bool:
        marks.append((time.perf_counter(), spent[0]))
        return False

    return stopping


@contextmanager
def _reported() -> Iterator[list[int]]:
    """Add up the nanoseconds that ClickHouse reports for the statements of this process."""
    spent = [0]
    account = clickhouse._account  # noqa: SLF001 - the one place that sees every statement's report

    def adding(summary: Mapping[str, Any]) -> dict[str, int]:
        spent[0] += int(summary.get("elapsed_ns", 0))
        return account(summary)

    with mock.patch.object(clickhouse, "_account", adding):
        yield spent
