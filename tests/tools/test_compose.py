"""docker-compose.yml, as Debian's docker-compose resolves it; no container engine is needed."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from worker.settings import Settings

ROOT = Path(__file__).parent.parent.parent
SECRETS = {
    "POSTGRES_PASSWORD": "p" * 24,
    "REDIS_PASSWORD": "r" * 24,
    "CLICKHOUSE_PASSWORD": "c" * 24,
    "TOKEN_KEYS": "k" * 32,
    "FLOWER_BASIC_AUTH": "operator:f",
}
SERVERS = {"postgres", "redis", "clickhouse", "mail", "prometheus"}
PROCESSES = {"migrate", "worker", "manual", "announce", "control", "beat", "web", "flower"}


def compose(folder: Path, secrets: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Resolve the file with these secrets, whatever the developer's own .env says."""
    written = folder / "secrets.env"
    written.write_text("".join(f"{name}={value}\n" for name, value in secrets.items()))
    command = ["docker-compose", "--env-file", str(written), "--file", str(ROOT / "docker-compose.yml"), "config"]
    env = {"PATH": os.environ["PATH"], "HOME": str(folder)}
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The resolved services by name."""
    result = compose(tmp_path_factory.mktemp("compose"), SECRETS)
    assert result.returncode == 0, result.stderr
    resolved: dict[str, dict[str, Any]] = yaml.safe_load(result.stdout)["services"]
    return resolved


def test_the_whole_system_is_there(services: dict[str, dict[str, Any]]) -> None:
    """Five servers and eight processes make the system."""
    assert set(services) == SERVERS | PROCESSES


@pytest.mark.parametrize("secret", SECRETS)
def test_a_missing_secret_is_named(tmp_path: Path, secret: str) -> None:
    """Without a secret nothing starts, and the refusal says what it is for."""
    result = compose(tmp_path, {name: value for name, value in SECRETS.items() if name != secret})

    assert result.returncode != 0
    assert secret in result.stderr


def test_every_service_has_a_health_check(services: dict[str, dict[str, Any]]) -> None:
    """No service runs unwatched."""
    unwatched = [name for name, service in services.items() if not service.get("healthcheck", {}).get("test")]

    assert unwatched == []


def test_nothing_is_published_beyond_this_machine(services: dict[str, dict[str, Any]]) -> None:
    """Every published port is bound to loopback."""
    published = [str(port) for service in services.values() for port in service.get("ports", [])]

    assert published != []
    assert [port for port in published if not port.startswith("127.0.0.1:")] == []


def test_no_service_can_rise(services: dict[str, dict[str, Any]]) -> None:
    """Every service drops every capability and cannot gain privileges."""
    free = [
        name
        for name, service in services.items()
        if service["cap_drop"] != ["ALL"] or service["security_opt"] != ["no-new-privileges:true"]
    ]

    assert free == []


def test_no_server_runs_as_root(services: dict[str, dict[str, Any]]) -> None:
    """Every server names the user it runs as, and none of them is root."""
    users = {name: str(services[name].get("user", "root")) for name in SERVERS}

    assert [name for name, user in users.items() if user.split(":")[0] in {"root", "0"}] == []


def test_no_process_runs_as_root(services: dict[str, dict[str, Any]]) -> None:
    """The image ends with a user of its own, by number, and no process takes another."""
    users = [line.split()[1] for line in (ROOT / "Dockerfile").read_text().splitlines() if line.startswith("USER ")]

    assert users == ["10001:10001"]
    assert [name for name in PROCESSES if "user" in services[name]] == []


def test_processes_write_to_their_volumes_only(services: dict[str, dict[str, Any]]) -> None:
    """Every process has a read-only root and forgets its temporary files."""
    writable = [name for name in PROCESSES if not services[name].get("read_only")]

    assert writable == []
    assert {tuple(services[name]["tmpfs"]) for name in PROCESSES} == {("/tmp",)}


def test_processes_wait_for_the_migration(services: dict[str, dict[str, Any]]) -> None:
    """No process starts before the stores have their tables."""
    waits = {name: services[name]["depends_on"].get("migrate") for name in PROCESSES - {"migrate"}}

    assert set(map(str, waits.values())) == {"{'condition': 'service_completed_successfully'}"}


def test_the_internal_port_is_not_published(services: dict[str, dict[str, Any]]) -> None:
    """Of the HTTP side's two ports only the public one is reachable from outside."""
    assert [port.removesuffix("/tcp") for port in services["web"]["ports"]] == ["127.0.0.1:8000:8000"]
    assert [name for name, service in services.items() if "9100" in str(service.get("ports", ""))] == []


def test_prometheus_finds_what_it_scrapes(services: dict[str, dict[str, Any]]) -> None:
    """It reads this project's files and cannot change them, and each of its targets is a service that listens there."""
    mounts = services["prometheus"]["volumes"]
    jobs = yaml.safe_load((ROOT / "docs" / "prometheus.yml").read_text(encoding="utf-8"))["scrape_configs"]
    web, flower = jobs[0]["dns_sd_configs"][0], jobs[1]["static_configs"][0]["targets"]

    assert [str(mount) for mount in mounts] == [
        *(f"{ROOT}/docs/{name}.yml:/etc/prometheus/{name}.yml:ro" for name in ("prometheus", "alerts")),
        "prometheus:/prometheus:rw",
    ]
    assert services["web"]["environment"]["INTERNAL_HOST"] != Settings.model_fields["internal_host"].default
    assert (web["names"], web["port"]) == (["web"], Settings.model_fields["internal_port"].default)
    assert flower == ["flower:5555"]
    assert "--port=5555" in services["flower"]["command"]


def test_the_http_side_reads_exports_only(services: dict[str, dict[str, Any]]) -> None:
    """Whoever faces the outside cannot change a stored file."""
    mounts = {name: services[name].get("volumes", []) for name in PROCESSES}

    assert mounts["web"] == ["exports:/var/lib/audience-worker/exports:ro"]
    assert {name for name, found in mounts.items() if found and not found[0].endswith(":ro")} == {"announce", "control"}


def test_a_worker_may_finish_before_it_is_killed(services: dict[str, dict[str, Any]]) -> None:
    """The platform waits as long as the worker's own grace says."""
    waits = {
        (services[name]["stop_grace_period"], services[name]["environment"]["SHUTDOWN_GRACE_SECONDS"])
        for name in PROCESSES
    }

    assert waits == {("30s", "30")}


def test_no_password_stands_in_a_command(services: dict[str, dict[str, Any]]) -> None:
    """Process lists show no secret."""
    commands = " ".join(str(service.get("command", "")) for service in services.values())

    assert [secret for secret in SECRETS.values() if secret in commands] == []
