"""docs/alerts.yml, played through by promtool: each alert fires when it should and keeps still just short of that."""

import json
import subprocess
from pathlib import Path

import yaml

DOCS = Path(__file__).parents[2] / "docs"
RULES = DOCS / "alerts.yml"
ALERTS = [rule["alert"] for rule in yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"][0]["rules"]]
TICKS = ("ring", "queue_daily_runs", "watch_data", "rescue", "rescue_announcements", "count", "prune")
LANES = ("manual", "daily", "announce")
HOUR = 3600

# A hundred minutes of a quiet system, a sample a minute, as promtool writes series down.
QUIET = {
    "postgres_answers": "1+0x100",
    **{f'tick_age_seconds{{tick="{tick}"}}': "60+0x100" for tick in TICKS},
    **{f'{name}{{lane="{lane}"}}': "0+0x100" for name in ("due", "oldest_due_seconds") for lane in LANES},
    **{f'lane_silent_seconds{{lane="{lane}"}}': "60+0x100" for lane in LANES},
    'runs_total{run_type="daily",status="completed"}': "100+0x100",
    'runs_total{run_type="daily",status="failed"}': "7+0x100",
    'runs_total{run_type="manual",status="completed"}': "100+0x100",
    "rescued_total": "9+0x100",
    'retries_total{code="CLICKHOUSE_MISCONFIGURED"}': "5+0x100",
    "audiences_active": "1000+0x100",
    "audiences_late": "0+0x100",
    "newest_ready_date_age_seconds": f"{30 * HOUR}+60x100",
    **{f'emails_total{{status="{status}"}}': "50+0x100" for status in ("sent", "failed", "unknown", "skipped")},
    'emails_waiting{status="pending"}': "0+0x100",
}
DUE = 'due{lane="daily"}'
DONE = 'runs_total{run_type="manual",status="completed"}'
SENT, FAILED, UNKNOWN = (f'emails_total{{status="{status}"}}' for status in ("sent", "failed", "unknown"))
FIRED = {
    "MetricsMissing": dict.fromkeys(QUIET),
    "PostgresSilent": {"postgres_answers": "0+0x100"},
    "TickStandsStill": {'tick_age_seconds{tick="ring"}': "inf+0x100"},
    "LaneUnserved": {'due{lane="announce"}': "1+0x100", 'lane_silent_seconds{lane="announce"}': "inf+0x100"},
    "RunsStandStill": {DUE: "1+0x100"},
    "WorkOverdue": {'oldest_due_seconds{lane="manual"}': "301+0x100"},
    "AudiencesLate": {"audiences_late": "11+0x100"},
    "DataLate": {"newest_ready_date_age_seconds": "inf+0x100"},
    "RunsFailed": {'runs_total{run_type="daily",status="failed"}': "7+0x90 8+0x10"},
    "RunsRescued": {"rescued_total": "0+0x90 180+0x10"},
    "ClickHouseMisconfigured": {'retries_total{code="CLICKHOUSE_MISCONFIGURED"}': "0+0x95 1+0x5"},
    "MailsFailing": {SENT: "0+1x100", FAILED: "0+0x90 3+0x10", UNKNOWN: "0+0x90 2+0x10"},
    "MailsStandStill": {'emails_waiting{status="pending"}': "1+0x100"},
}
# A little less than what fires each, and what looks like it and is something else.
KEPT_STILL = {
    "MetricsMissing": {"postgres_answers": "1+0x90 _x5 1+0x5"},
    "PostgresSilent": {"postgres_answers": "1+0x99 0+0x1"},
    "TickStandsStill": {
        'tick_age_seconds{tick="ring"}': "120+0x100",
        'tick_age_seconds{tick="count"}': "1800+0x100",
    },
    "LaneUnserved": {'due{lane="announce"}': "1+0x100", 'lane_silent_seconds{lane="announce"}': "480+0x100"},
    "RunsStandStill": {DUE: "40+0x100", DONE: "100+0x90 101+0x10"},
    "WorkOverdue": {
        'oldest_due_seconds{lane="manual"}': "300+0x100",
        'oldest_due_seconds{lane="daily"}': "1800+0x100",
    },
    "AudiencesLate": {"audiences_late": "10+0x100"},
    "DataLate": {"newest_ready_date_age_seconds": f"{53 * HOUR}+60x100"},
    "RunsFailed": {'runs_total{run_type="daily",status="failed"}': "7+0x20 9+0x80"},
    "RunsRescued": {"rescued_total": "0+0x90 128+0x10"},
    "ClickHouseMisconfigured": {'retries_total{code="CLICKHOUSE_MISCONFIGURED"}': "0+0x70 1+0x30"},
    "MailsFailing": {SENT: "0+2x100", FAILED: "0+0x90 3+0x10", UNKNOWN: "0+0x90 2+0x10"},
    "MailsStandStill": {'emails_waiting{status="pending"}': "1+0x100", SENT: "50+0x80 51+0x20"},
}


def promtool(*arguments: object) -> None:
    """Run promtool, which must find nothing wrong."""
    result = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def series(changed: dict[str, str | None]) -> list[dict[str, str]]:
    """Write down what two web processes say, which is the same."""
    lines = {name: values for name, values in (QUIET | changed).items() if values is not None}
    processes = ('instance="web-1:9100",', 'instance="web-2:9100",')
    spelled = [(name if "{" in name else f"{name}{{}}", values) for name, values in lines.items()]
    return [
        {"series": f"audience_worker_{name.replace('{', '{' + process)}", "values": values}
        for name, values in spelled
        for process in processes
    ]


def scene(name: str, changed: dict[str, str | None], **wanted: object) -> dict[str, object]:
    """Let a hundred minutes pass, and judge their end."""
    return {"name": name, "interval": "1m", "input_series": series(changed), **wanted}


def played(folder: Path, *scenes: dict[str, object]) -> None:
    """Play scenes in one go, since starting promtool takes longer than they do."""
    written = folder / "scenes.yml"
    whole = {"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": scenes}
    written.write_text(json.dumps(whole), encoding="utf-8")
    promtool("test", "rules", written)


def firing(*alerts: str) -> list[dict[str, object]]:
    """Ask for exactly these alerts to be firing at the end."""
    expression = 'max by (alertname) (ALERTS{alertstate="firing"})'
    samples = [{"labels": f'{{alertname="{alert}"}}', "value": 1} for alert in alerts]
    return [{"expr": expression, "eval_time": "100m", "exp_samples": samples}]


def test_every_alert_is_played_both_ways() -> None:
    """No alert goes without a case in which it fires and one in which it nearly does."""
    assert ALERTS == list(FIRED) == list(KEPT_STILL)


def test_each_fires_alone(tmp_path: Path) -> None:
    """What one alert is for makes that alert fire, and no other."""
    played(tmp_path, *(scene(alert, FIRED[alert], promql_expr_test=firing(alert)) for alert in FIRED))


def test_each_keeps_still_just_short_of_that(tmp_path: Path) -> None:
    """At its threshold, or when it was long ago, an alert does not fire, and neither does any other."""
    played(tmp_path, *(scene(alert, KEPT_STILL[alert], promql_expr_test=firing()) for alert in KEPT_STILL))


def test_an_alert_says_which_lane_and_for_how_long(tmp_path: Path) -> None:
    """Labels and values stand in the sentence as people read them."""
    told = {
        "summary": "Work on the lane manual waits too long",
        "description": "The oldest of it has been due for 1h 1m 1s; look first whether the lane's workers are busy or its"
        " ceiling is reached, in Flower and audience-worker doctor.",
        "runbook": "docs/operations.md#workoverdue",
    }
    alert = {"exp_labels": {"lane": "manual", "severity": "warning"}, "exp_annotations": told}
    wanted = [{"alertname": "WorkOverdue", "eval_time": "100m", "exp_alerts": [alert]}]

    played(tmp_path, scene("told", {'oldest_due_seconds{lane="manual"}': "3661+0x100"}, alert_rule_test=wanted))


def test_prometheus_takes_its_configuration() -> None:
    """The file that compose mounts is a whole one, and finds the rules beside itself."""
    promtool("check", "config", DOCS / "prometheus.yml")
