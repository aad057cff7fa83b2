"""The HTTP side against the documents it was promised by: their OpenAPI fragments and their samples, as written."""

import json
from pathlib import Path

import jsonschema
import published
import pytest
import web
import yaml

from api.app import create

CONTRACT = Path(__file__).parent.parent.parent / "contract"
KINDS = {"null": type(None), "string": str, "number": (int, float), "object": dict, "array": list}


@pytest.fixture
def address(stores):
    """The HTTP side over stores that hold a day of data."""
    with web.served(create()) as address:
        yield address


@pytest.fixture
def path(clickhouse, organization):
    """Where an audience's runs are, one of them completed."""
    audience_id, _ = published.completed(clickhouse, organization)
    return f"/v1/intent/audiences/{audience_id}/runs"


def fragment(name, path, status):
    """Return the answer that a fragment of the contract documents for a path's GET, and its schemas."""
    document = yaml.safe_load((CONTRACT / f"{name}.yaml").read_text(encoding="utf-8"))
    return document["paths"][path]["get"]["responses"][status], document["components"]


def valid(answer, name, path, status):
    """Check an answer against the schema of a fragment, formats included."""
    documented, components = fragment(name, path, status)
    schema = {**documented["content"]["application/json"]["schema"], "components": components}
    jsonschema.validate(
        answer.json(), schema, jsonschema.Draft202012Validator, format_checker=jsonschema.FormatChecker()
    )


def sample(name):
    """Read a sample of the contract."""
    return json.loads((CONTRACT / f"{name}.json").read_text(encoding="utf-8"))


def missing(shown, answered, place=""):
    """Name the fields that a sample shows and an answer lacks, or has of another type."""
    if isinstance(shown, dict) and isinstance(answered, dict):
        return [
            found
            for name, value in shown.items()
            for found in (
                [f"{place}.{name}"] if name not in answered else missing(value, answered[name], f"{place}.{name}")
            )
        ]
    if isinstance(shown, list) and isinstance(answered, list):
        return missing(shown[0], answered[0], f"{place}[0]") if shown and answered else [place][: len(shown)]
    same = any(isinstance(shown, kind) and isinstance(answered, kind) for kind in KINDS.values())
    return [] if same else [f"{place}: {answered!r}"]


LIST, EXPORT = "/v1/intent/audiences/{id}/runs", "/v1/intent/audiences/{id}/runs/{runId}/export.csv"


def test_listed_runs_are_those_of_the_contract(client, path):
    """The list of runs validates against document 000, and shows what the sample of document 001 shows."""
    client.post(path)
    answer = client.get(path)

    valid(answer, "list-runs", LIST, "200")
    finished = {"data": [run for run in answer.json()["data"] if run["status"] == "completed"]}
    assert ([], 2) == (missing(sample("listed-runs"), finished), len(answer.json()["data"]))


def test_an_unknown_audience_is_that_of_the_contract(client):
    """The 404 of the list validates against document 000."""
    answer = client.get(LIST.replace("{id}", "8c049a20-3385-42da-b710-0d038eff5812"))

    assert 404 == answer.status_code
    valid(answer, "list-runs", LIST, "404")


def test_a_queued_run_is_that_of_the_contract(client, path):
    """A newly queued run shows every field of documents 001 and 002, those of its future as null."""
    answer = client.post(path, headers={"Idempotency-Key": "unique-client-retry-key"}).json()

    future = {"nextAttemptAt", "errorCode", "errorMessage", "startedAt", "completedAt", "cancelledAt"}
    future |= {"readyEmailSentAt", "readyEmailExportId", "readyEmailError"}
    assert [] == missing(sample("queued-run"), answer)
    assert sorted(f".data.{name}: None" for name in future) == sorted(missing(sample("whole-run"), answer))


def test_pending_results_are_those_of_the_contract(client, path):
    """Results of a queued run validate against the sample of document 003."""
    run_id = client.post(path).json()["data"]["id"]
    answer = client.get(f"{path}/{run_id}/results", params={"limit": 50})

    assert (202, []) == (answer.status_code, missing(sample("pending-results"), answer.json()))
    assert ("queued", [], 0, 50, 0) == tuple(
        answer.json()["data"][name] for name in ("state", "results", "total", "limit", "offset")
    )


def test_completed_results_are_those_of_the_contract(client, path):
    """Every field that the sample of document 003 shows of a person is present with that type."""
    run_id = client.get(path).json()["data"][0]["id"]
    answer = client.get(f"{path}/{run_id}/results", params={"limit": 50})

    assert (200, []) == (answer.status_code, missing(sample("completed-results"), answer.json()))


def test_an_export_is_that_of_the_contract(client, path):
    """The CSV carries the four headers of document 004, each of its type."""
    run_id = client.get(path).json()["data"][0]["id"]
    answer = client.get(f"{path}/{run_id}/export.csv")

    documented, _ = fragment("export-csv", EXPORT, "200")
    read = {name: yaml.safe_load(answer.headers[name]) for name in documented["headers"]}
    read["X-Export-Truncated"] = answer.headers["X-Export-Truncated"]
    for name, header in documented["headers"].items():
        jsonschema.validate(read[name], header["schema"])
    assert (4, "text/csv") == (len(read), answer.headers["Content-Type"].split(";")[0])


@pytest.mark.parametrize(("status", "run"), [("404", "8c049a20-3385-42da-b710-0d038eff5812"), ("409", None)])
def test_what_cannot_be_exported_is_that_of_the_contract(client, path, status, run):
    """The 404 and 409 of the export validate against document 004."""
    answer = client.get(f"{path}/{run or client.post(path).json()['data']['id']}/export.csv")

    assert int(status) == answer.status_code
    valid(answer, "export-csv", EXPORT, status)


def test_the_app_documents_what_the_contract_documents(client):
    """The app's own OpenAPI has the contract's paths, schemas and ways to get in."""
    ours = client.get("/openapi.json").json()
    theirs = yaml.safe_load((CONTRACT / "list-runs.yaml").read_text(encoding="utf-8"))

    run, promised = (one["components"]["schemas"]["IntentAudienceRun"] for one in (ours, theirs))
    assert ("3.1.0", False) == (ours["openapi"], "422" in str(ours))
    assert {LIST, EXPORT} <= set(ours["paths"])
    assert (set(promised["properties"]), set()) == (
        set(run["properties"]),
        set(promised["required"]) - set(run["required"]),
    )
    assert theirs["components"]["securitySchemes"] == ours["components"]["securitySchemes"]
