"""Requests nobody would think of, made from the app's own OpenAPI: examples, edges, random ones, and chains of them."""

import os
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import published
import pytest
import web

from api.app import create

SEED = os.environ.get("FUZZ_SEED", "7")
EXAMPLES = os.environ.get("FUZZ_EXAMPLES", "15")


@pytest.fixture
def organization():
    """Whose key the requests show."""
    return uuid4()


@pytest.mark.timeout(3600)
def test_no_request_is_answered_otherwise_than_documented(stores, clickhouse, organization, monkeypatch):
    """No request brings a server error, an undocumented status, or an answer that its schema does not allow."""
    monkeypatch.setenv("RATE_LIMIT_PER_MINUTE", "0")
    published.completed(clickhouse, organization)
    with web.served(create()) as address:
        told = subprocess.run(
            [
                Path(sys.executable).parent / "schemathesis",
                *("run", f"{address}/openapi.json"),
                *("--header", f"X-API-Key: {web.key_of(organization)}"),
                *("--checks", "all", "--seed", SEED, "--max-examples", EXAMPLES),
                *("--continue-on-failure", "--warnings", "off", "--no-color"),
            ],
            cwd=stores.folder,
            env={**os.environ, "SCHEMATHESIS_HOOKS": "fuzz_hooks", "PYTHONPATH": str(Path(__file__).parents[1])},
            capture_output=True,
            text=True,
            check=False,
        )

    assert 0 == told.returncode, told.stdout[-20_000:] + told.stderr
