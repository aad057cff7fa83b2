"""What docs/ tells Prometheus and Grafana to ask for is what /metrics has, and every alert leads somewhere."""

import json
import re
from collections import defaultdict
from itertools import combinations
from pathlib import Path

import httpx
import pytest
import web
import yaml
from prometheus_client.parser import text_string_to_metric_families

from api import internal
from api.app import create
from scheduler import beat

DOCS = Path(__file__).parents[3] / "docs"
RULES = yaml.safe_load((DOCS / "alerts.yml").read_text(encoding="utf-8"))["groups"][0]["rules"]
DASHBOARD = json.loads((DOCS / "dashboard.json").read_text(encoding="utf-8"))
EXPRESSIONS = [rule["expr"] for rule in RULES] + [
    target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]
]
SELECTOR = re.compile(r"(\w+)(?:\{([^}]*)\})?")
GROUPED = re.compile(r"\b(?:by|on|without|ignoring)\s*\(([^)]*)\)")
MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
WORDS = {"and", "or", "unless", "by", "on", "without", "ignoring"}


@pytest.fixture
def exposed(tables):
    """The values that each label of each metric has in a real scrape of empty tables."""
    with web.served(internal.create(create().state.readiness)) as address:
        answer = httpx.get(f"{address}/metrics", timeout=30)
    found = defaultdict(lambda: defaultdict(set))
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            found[sample.name].update()
            for label, value in sample.labels.items():
                found[sample.name][label].add(value)
    return found


def asked(expression):
    """Yield each metric that an expression names, with the labels and values that it chooses."""
    bare = GROUPED.sub("", re.sub(r"\[[^\]]*\]", "", expression))
    for match in SELECTOR.finditer(bare):
        name, chosen = match.groups()
        called = bare[match.end() :].lstrip().startswith("(")
        if not called and name not in WORDS and not re.match(r"\d", name):
            yield name, {label: values.split("|") for label, _, values in MATCHER.findall(chosen or "")}


def grouped(expression):
    """Return the labels that an expression groups or matches by."""
    return {label.strip() for labels in GROUPED.findall(expression) for label in labels.split(",") if label.strip()}


def test_reading_an_expression_misses_nothing():
    """Functions, durations, groups and numbers are no metrics; what is left is, with what it chooses."""
    expression = 'max by (le, a) (rate(some_bucket{a="x",b=~"y|z"}[5m])) > 0.5 and on () other == 1e3'

    assert [("some_bucket", {"a": ["x"], "b": ["y", "z"]}), ("other", {})] == list(asked(expression))
    assert {"le", "a"} == grouped(expression)


def test_every_metric_that_is_asked_for_exists(exposed):
    """Alerts and panels name metrics, labels and label values of a real scrape, before anything has happened."""
    named = [each for expression in EXPRESSIONS for each in asked(expression)]

    assert len(named) > len(EXPRESSIONS)
    assert [] == [name for name, _ in named if name not in exposed]
    assert [] == [(name, chosen) for name, chosen in named if chosen.keys() - exposed[name].keys()]
    assert [] == [
        (name, value)
        for name, chosen in named
        for label, values in chosen.items()
        for value in values
        if value not in exposed[name][label]
    ]
    for expression in EXPRESSIONS:
        assert set() == grouped(expression) - {label for name, _ in asked(expression) for label in exposed[name]}


def test_every_metric_is_explained(exposed):
    """Whatever /metrics has from the beginning stands in the table of the operations page."""
    page = (DOCS / "operations.md").read_text(encoding="utf-8")
    names = {re.sub(r"^audience_worker_|_(bucket|count|sum|created)$", "", name) for name in exposed}
    names -= {name for name in names if name.startswith(("process_", "http_"))}

    assert [] == sorted(name for name in names if f"`{name}`" not in page)


def test_every_alert_leads_somewhere():
    """Each says how bad it is, what it is in one sentence with what to look at first, and where the runbook goes on."""
    page = (DOCS / "operations.md").read_text(encoding="utf-8")
    for rule in RULES:
        told = rule["annotations"]
        sentence = re.sub(r"\{\{.*?\}\}", "N", told["description"])

        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert re.fullmatch(r"[^.]+; look first [^.]+\.", sentence)
        assert told["runbook"] == f"docs/operations.md#{rule['alert'].lower()}"
        assert f"`{rule['alert']}`" in page


def test_each_tick_has_a_limit_that_suits_its_period(tables):
    """Every tick of the timetable falls under one limit of TickStandsStill, no less than a minute or eight periods."""
    [expression] = [rule["expr"] for rule in RULES if rule["alert"] == "TickStandsStill"]
    limits = re.findall(r'tick(=~|!~)"([^"]+)"\}\) > (\d+)', expression)
    beat.app.finalize()
    for name, entry in beat.app.conf.beat_schedule.items():
        tick = name.removeprefix("control.")
        under = [int(limit) for kind, ticks, limit in limits if (tick in ticks.split("|")) == (kind == "=~")]

        assert len(under) == 1, tick
        assert under[0] >= max(60, 8 * entry["schedule"].run_every.total_seconds()), tick


def test_the_dashboard_is_whole():
    """Panels have their own number, a title and a sentence, a unit and queries, and none lies over another."""
    panels = DASHBOARD["panels"]

    assert len({panel["id"] for panel in panels}) == len(panels)
    assert all(panel["title"] and panel["description"] and panel["targets"] for panel in panels)
    assert all(panel["fieldConfig"]["defaults"]["unit"] for panel in panels)
    assert ["datasource"] == [variable["name"] for variable in DASHBOARD["templating"]["list"]]
    assert {"${datasource}"} == {target["datasource"]["uid"] for panel in panels for target in panel["targets"]}
    assert [] == [
        (one["title"], other["title"])
        for one, other in combinations(panels, 2)
        if over(one["gridPos"], other["gridPos"])
    ]
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in panels)


def over(one, other):
    """Whether two places overlap."""
    return all(
        one[start] < other[start] + other[size] and other[start] < one[start] + one[size]
        for start, size in (("x", "w"), ("y", "h"))
    )
