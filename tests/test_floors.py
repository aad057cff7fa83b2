"""Who may import whom: import-linter's contracts in pyproject.toml spell out the picture in worker/__init__.py."""

import os
import re
import shutil
import subprocess
import sysconfig
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# A house in small, for the contracts to be broken in.
PACKAGES = ("worker", "worker/runs", "scheduler", "local", "cli")
LEAVES = ("errors", "filters", "audience", "due", "settings")
ROOMS = ("models", "database", "log", "lease", "audiences", "runs/claim", "runs/finish")
STORIES = ("daily", "rescue", "materialize", "drain", "tasks")
MODULES = (*LEAVES, *ROOMS, *STORIES)


def contracts(folder: Path) -> subprocess.CompletedProcess[str]:
    """Check the contracts of pyproject.toml against the packages in a folder."""
    command = [f"{sysconfig.get_path('scripts')}/lint-imports", "--no-cache", "--no-logo"]
    env = {"PATH": os.environ["PATH"]}  # no coverage of the linter
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)


def test_arrows_only_go_down() -> None:
    """The contracts over floors, rooms and cycles hold."""
    result = contracts(ROOT)

    assert result.returncode == 0, result.stdout


def test_every_module_has_its_floor() -> None:
    """No module of the worker stands outside the picture, where no arrow would be checked."""
    linter = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    floors = set(re.findall(r"worker\.([a-z_]+)", " ".join(linter["contracts"][0]["layers"])))

    homes = {
        path.stem for path in (ROOT / "worker").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }

    assert homes - floors - {"__init__"} == set()


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("worker/log.py", "import cli"),
        ("worker/daily.py", "import scheduler"),
        ("worker/tasks.py", "import local"),
        ("local/servers.py", "from scheduler import beat"),
        ("worker/runs/claim.py", "from worker import audiences"),
        ("worker/lease.py", "from worker.runs import claim"),
        ("worker/models.py", "from worker import database"),
        ("worker/materialize.py", "from worker import drain"),
        ("worker/rescue.py", "from worker import materialize"),
        ("worker/filters.py", "from worker import audience"),
        ("worker/due.py", "from worker import audience"),
        ("worker/audience.py", "from worker import settings"),
        ("worker/runs/claim.py", "from worker.runs import finish"),
    ],
)
def test_each_contract_bites(tmp_path: Path, path: str, text: str) -> None:
    """A house with one arrow that goes up, sideways or round in a circle is refused."""
    build(tmp_path)

    write(tmp_path / path, text)

    assert contracts(tmp_path).returncode == 1


def test_a_house_in_order_is_accepted(tmp_path: Path) -> None:
    """Without that arrow the same house is accepted."""
    build(tmp_path)

    assert contracts(tmp_path).returncode == 0


def build(folder: Path) -> None:
    """Build a small house in order."""
    shutil.copy(ROOT / "pyproject.toml", folder)
    for name in PACKAGES:
        write(folder / name / "__init__.py", "")
    for name in MODULES:
        write(folder / "worker" / f"{name}.py", "")
    write(folder / "worker/runs/finish.py", "from worker.runs import claim")


def write(path: Path, text: str) -> None:
    """Write a file and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
