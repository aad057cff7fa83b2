"""What is installed, shipped and started: the locks, the wheel, the Procfile and the containers agree."""

import os
import re
import shlex
import tomllib
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml

from worker import app
from worker.settings import Settings

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
LOCKS = ("production", "local", "dev", "build")
PRUNED = {".git", ".venv", ".local", "node_modules", "__pycache__", "build", "dist", "htmlcov"}

# Spelled apart, so that this file does not name them itself.
REGISTRIES = [
    ".".join(host) for host in (("pypi", "org"), ("pythonhosted", "org"), ("npmjs", "org"), ("golang", "org"))
]


def lock(name: str) -> str:
    """Read one lock."""
    return (ROOT / "requirements" / f"{name}.lock").read_text(encoding="utf-8")


def pins(name: str) -> set[str]:
    """Return the pinned versions of one lock, as name==version."""
    return set(re.findall(r"^([a-z0-9][a-z0-9.-]*==\S+)", lock(name), flags=re.MULTILINE))


def wanted(*groups: str) -> set[str]:
    """Return the names of the distributions that pyproject.toml asks for."""
    extras = PROJECT["project"]["optional-dependencies"]
    lines = [line for group in groups for line in (extras[group] if group in extras else PROJECT["project"][group])]
    return {re.split(r"[\[<>=;]", line)[0].strip().lower() for line in lines}


def names(pinned: set[str]) -> set[str]:
    """Return the names in a set of pins."""
    return {pin.split("==")[0] for pin in pinned}


def test_production_installs_neither_local_servers_nor_test_tools() -> None:
    """What only development, demo and tests need is not in the production lock."""
    assert names(pins("production")) & (wanted("local", "dev") | {"setuptools", "pip"}) == set()


@pytest.mark.parametrize(
    ("name", "groups"),
    [
        ("production", ("dependencies",)),
        ("local", ("dependencies", "local")),
        ("dev", ("dependencies", "local", "dev")),
    ],
)
def test_every_dependency_is_locked(name: str, groups: tuple[str, ...]) -> None:
    """A dependency added to pyproject.toml without `make lock` is named."""
    assert wanted(*groups) - names(pins(name)) == set()


def test_the_locks_agree() -> None:
    """What is tested is what production runs, to the version."""
    assert pins("production") <= pins("local") <= pins("dev")


@pytest.mark.parametrize("name", LOCKS)
def test_every_pin_has_its_hashes(name: str) -> None:
    """Nothing can be installed that is not exactly what was locked."""
    entries = re.split(r"^(?=[a-z0-9])", lock(name), flags=re.MULTILINE)[1:]

    assert [entry.split()[0] for entry in entries if "--hash=sha256:" not in entry] == []


@pytest.mark.parametrize("name", LOCKS)
def test_locks_name_no_index(name: str) -> None:
    """Where packages come from is the installer's configuration."""
    assert re.findall(r"https?://|--(?:extra-)?index-url|--find-links|-i ", lock(name)) == []


def test_every_file_of_a_package_ships() -> None:
    """Whatever lies beside the code is in the wheel too."""
    patterns = [*PROJECT["tool"]["setuptools"]["package-data"]["*"], "*.py"]
    files = [path for package in ("worker", "scheduler", "api", "cli", "local") for path in (ROOT / package).rglob("*")]
    shipped = [path for path in files if path.is_file() and "__pycache__" not in path.parts]

    assert [str(path.relative_to(ROOT)) for path in shipped if not any(fnmatch(path.name, it) for it in patterns)] == []


def test_every_package_reaches_the_image() -> None:
    """What the build may see holds every package that ships."""
    seen = {line[1:] for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line[:1] == "!"}
    packages = {name.rstrip("*") for name in PROJECT["tool"]["setuptools"]["packages"]["find"]["include"]}

    assert packages - seen == set()


def test_no_file_names_a_package_registry() -> None:
    """The project installs from whatever index its surroundings configure."""
    named = [path for path in project_files() if any(host in path.read_text(errors="ignore") for host in REGISTRIES)]

    assert named == []


def project_files() -> list[Path]:
    """Return the project's own files, without what tools leave behind."""
    found = []
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in PRUNED and not name.endswith(("_cache", ".egg-info"))]
        found += [Path(folder, name) for name in files if not name.startswith(".coverage")]
    return found


def procfile() -> dict[str, list[str]]:
    """Return the process types with their commands, as a shell with an empty environment would start them."""
    lines = (ROOT / "Procfile").read_text(encoding="utf-8").splitlines()
    entries = dict(line.split(": ", 1) for line in lines if not line.startswith("#"))
    return {name: shlex.split(re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", command)) for name, command in entries.items()}


def test_the_procfile_execs() -> None:
    """No shell stands between the runner's signals and the process."""
    assert {name: command[0] for name, command in procfile().items()} == dict.fromkeys(procfile(), "exec")


def test_the_grace_is_what_the_platform_grants() -> None:
    """SHUTDOWN_GRACE_SECONDS of the containers is the stop_grace_period of whoever has work under way."""
    graces = {
        COMPOSE["services"][name]["stop_grace_period"] for name in ("worker", "manual", "announce", "control", "web")
    }

    assert graces == {f"{COMPOSE['x-settings']['SHUTDOWN_GRACE_SECONDS']}s"}


def test_every_queue_is_served() -> None:
    """The workers of the Procfile serve every queue, and no other."""
    served = [command[command.index("-Q") + 1].split(",") for command in procfile().values() if "-Q" in command]

    assert sorted(app.QUEUES) == sorted(queue for queues in served for queue in queues)


@pytest.mark.parametrize("name", ["worker", "manual", "announce", "control"])
def test_each_worker_is_asked_whether_it_hears(name: str) -> None:
    """A worker's health check asks the worker of its own queue, and has the time that its answer may take."""
    service = COMPOSE["services"][name]
    node = service["command"][service["command"].index("-n") + 1]

    assert service["healthcheck"]["test"] == ["CMD", "audience-worker", "health", node.removesuffix("@%h")]
    assert service["healthcheck"]["timeout"] == "20s"


def bare(command: list[str]) -> list[str]:
    """Strip what belongs to the shell, and the address, which a container binds wider."""
    return [word for word in command if word != "exec" and not word.startswith("--address=")]


@pytest.mark.parametrize("name", sorted({*procfile()} - {"release"}))
def test_containers_start_what_the_procfile_starts(name: str) -> None:
    """One command line per process type, however it is run."""
    assert bare(procfile()[name]) == bare(COMPOSE["services"][name]["command"])


def test_containers_set_settings_that_exist() -> None:
    """Every variable of the containers is a setting, and every setting without a default is set."""
    given = set(COMPOSE["x-settings"])
    required = {name.upper() for name, field in Settings.model_fields.items() if field.is_required()}

    assert given - {name.upper() for name in Settings.model_fields} == set()
    assert required - given == set()


def test_the_example_names_every_secret() -> None:
    """What docker-compose.yml asks for stands in .env.example."""
    asked: set[Any] = set(re.findall(r"\$\{(\w+)", (ROOT / "docker-compose.yml").read_text(encoding="utf-8")))
    offered = set(re.findall(r"^(\w+)=", (ROOT / ".env.example").read_text(encoding="utf-8"), flags=re.MULTILINE))

    assert asked == offered
