"""The list of guards that `make mutants` takes out, held to the code."""

from pathlib import Path

import mutants
import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("guard", mutants.GUARDS, ids=lambda guard: guard.name)
def test_each_guard_stands_where_the_list_says(guard):
    """Its text stands once in its file, taking it out changes the file, and its test exists."""
    source = (ROOT / guard.path).read_text(encoding="utf-8")
    file, _, name = guard.test.partition("::")

    assert source != guard.removed(source)
    assert f"def {name}(" in (ROOT / file).read_text(encoding="utf-8")


@pytest.mark.parametrize("source", ["nothing of it", mutants.GUARDS[0].text * 2])
def test_a_guard_that_moved_is_an_error(source):
    """A text that stands nowhere, or twice, is named instead of passed over."""
    with pytest.raises(ValueError, match=r"stands [02] times in worker/runs/finish\.py, not once"):
        mutants.GUARDS[0].removed(source)
