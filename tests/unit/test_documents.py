"""The pages that name code are held to it."""

import re
from pathlib import Path

import commandline
import commands
import pytest
import typer
import yaml

from cli import settings
from cli.main import app
from worker import errors, manual, person

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
UNFINISHED = "…"


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


def _headings(title: str) -> set[str]:
    """Return the headings below one section of the runbook, without their back-ticks."""
    page = (DOCS / "operations.md").read_text(encoding="utf-8")
    section = re.split(r"\n## ", page.split(f"\n## {title}\n")[1])[0]
    return {heading.strip("`") for heading in re.findall(r"^### (.+)$", section, re.MULTILINE)}


def test_the_runbook_has_a_section_for_each_code_and_none_besides():
    """Whatever code stands on a run or a file, there is a heading for it; no heading is of a code that does not exist."""
    of_runs = {manual.PAUSED[0], manual.SWITCHED_OFF[0]}

    assert _leaves(errors.AttemptError) | of_runs == _headings("Codes")


def test_the_runbook_has_a_section_for_each_alert_and_none_besides():
    """What Prometheus may say at night is a heading of the runbook."""
    groups = yaml.safe_load((DOCS / "alerts.yml").read_text(encoding="utf-8"))["groups"]

    assert {rule["alert"] for group in groups for rule in group["rules"]} == _headings("Alerts")


def test_the_page_of_settings_is_current():
    """What `make docs` would write stands there already."""
    printed = commandline.done("settings", "--markdown")

    assert (DOCS / "configuration.md").read_text(encoding="utf-8") == printed


def test_the_settings_are_told_in_a_terminal_without_being_set():
    """Whoever has set nothing yet sees what must be set, and what everything else is unless set."""
    told = commandline.done("settings")

    assert re.search(r"DATABASE_URL +a secret +must be set", told)
    assert re.search(r"LEASE_SECONDS +seconds, more than 0 +60 ", told)


def test_every_group_of_settings_begins_with_one_that_exists():
    """No setting stands without a group, and a secret shows no default."""
    listed = settings.listed()

    assert list(settings.GROUPS.values()) == list(listed)
    assert {None} == {one.default for group in listed.values() for one in group if one.takes == "a secret"}


def _refused(words: tuple[str, ...]) -> str:
    """Say what is wrong with a call of our command line; nothing if it could be parsed."""
    command, rest = typer.main.get_command(app), list(words)
    while hasattr(command, "commands") and rest and not rest[0].startswith("-"):
        if rest[0] not in command.commands:
            return f"there is no {rest[0]}"
        command = command.commands[rest.pop(0)]
    try:
        given, left, _ = command.make_parser(typer.Context(command)).parse_args(rest)
    except Exception as error:  # noqa: BLE001 - whatever the parser says is the answer
        return str(error)
    missing = [one.name for one in command.params if one.required and given.get(one.name) is None]
    return f"too much: {left}" if left else f"missing: {missing}" if missing else ""


def test_every_command_of_the_pages_parses():
    """Each call of our command line in any page names commands, options and arguments that exist."""
    found = [call for call in commands.calls("audience-worker") if UNFINISHED not in "".join(call[1])]
    wrong = [(page, " ".join(words), _refused(words)) for page, words in found if _refused(words)]

    assert len(found) > 50
    assert [] == wrong
    assert "No such option: --nothing" == _refused(("runs", "list", "--nothing"))


def test_every_make_target_of_the_pages_exists():
    """Each target that a page names is one of the Makefile's, and make help tells it."""
    told = set(re.findall(r"^([a-z-]+):.*## ", MAKEFILE, re.MULTILINE))
    named = {words[0] for _, words in commands.calls("make") if words}

    assert set() == named - told
    assert {"demo", "test", "check"} <= named


def test_every_link_of_the_pages_leads_somewhere():
    """A relative link names a file that is there and, after #, a heading of it."""
    dead = []
    for page in commands.PAGES:
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
            name, _, anchor = target.partition("#")
            path = page if not name else page.parent / name
            if ":" not in target and not (path.exists() and (not anchor or anchor in _anchors(path))):
                dead.append((page.name, target))

    assert [] == dead


def _anchors(page: Path) -> set[str]:
    """Return what the headings of a page are called in links."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_what_the_procfile_reads_besides_the_settings_is_told():
    """A variable that only a line of the Procfile knows is explained where deployments are."""
    read = set(re.findall(r"\$\{([A-Z_]+)", (ROOT / "Procfile").read_text(encoding="utf-8")))
    page = (DOCS / "deploy.md").read_text(encoding="utf-8")

    assert [] == sorted(name for name in read if f"`{name}`" not in page)
