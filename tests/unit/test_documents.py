"""The pages that name code are held to it."""

from pathlib import Path

import pytest

from worker import errors, person

DOCS = Path(__file__).parents[2] / "docs"


def _leaves(kind: type[errors.WorkerError]) -> set[str]:
    """Codes of every error that ends an attempt."""
    return {leaf.code for leaf in kind.__subclasses__() if hasattr(leaf, "code")}


def test_the_source_contract_names_every_column_of_people():
    """Each person field stands in the table with its column and its public name."""
    page = (DOCS / "source-contract.md").read_text(encoding="utf-8")

    assert [] == [field.name for field in person.FIELDS if f"| `{field.column}` | `{field.name}` |" not in page]


@pytest.mark.parametrize("code", sorted(_leaves(errors.AttemptError)))
def test_the_lifecycle_page_names_every_code(code):
    """An error code that a run can carry is explained where runs are explained."""
    page = (DOCS / "run-lifecycle.md").read_text(encoding="utf-8")

    assert f"`{code}`" in page
