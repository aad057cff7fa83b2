"""What came of an audience that was picked and frozen."""

import pytest

from worker.plan import Counted
from worker.selections import Frozen


@pytest.mark.parametrize(
    ("snapshot", "rows", "whole"),
    [
        ((3, 1, 3, 3), 3, True),
        ((2, 1, 2, 2), 3, False),
        ((3, 1, 3, 2), 3, False),
        ((3, 2, 4, 3), 3, False),
        ((0, 0, 0, 0), 0, True),
        ((0, 0, 0, 0), 1, False),
        ((1, 1, 1, 1), 0, False),
    ],
)
def test_a_snapshot_is_whole_when_each_rank_stands_once(snapshot, rows, whole):
    """Rows that are missing, twice there or ranked from elsewhere than 1 are not published."""
    assert whole is Frozen(Counted(9, 3), snapshot, (1, 1)).whole(rows)
