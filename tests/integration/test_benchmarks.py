"""The benchmarks: what they write down, and one of them from end to end; no figure is ever judged."""

import importlib
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from benchmarks.plot import Bar
from benchmarks.report import Section, Table, spread

ROOT = Path(__file__).parents[2]
COMMANDS = ("materialize", "day", "engine", "recover", "queue", "export")


def section(name: str, value: float) -> Section:
    """Put together a section of one figure."""
    bars = [Bar("a {group}", "rival & co", 2 * value), Bar("a {group}", "ours", value, ours=True)]
    table = Table(("way", "median", "min", "max"), [["ours", *spread([value, value + 1, value + 2]).cells()]])
    return Section(name, f"Title of {name}", "What was done.", "3 rounds", [table], bars, "ms")


def test_a_section_replaces_itself_and_leaves_the_rest_alone(tmp_path, capsys):
    """Written again it stands where it stood, once, with its new figures, and what people wrote around it stays."""
    page = tmp_path / "benchmarks.md"
    page.write_text("# Mine\n\n<!-- one -->\nNot yet.\n<!-- end of one -->\n\nA word after it.\n")
    for name, value in (("one", 1), ("two", 5), ("one", 300)):
        section(name, value).publish(tmp_path)
    text = page.read_text()
    order = [line for line in text.splitlines() if line.startswith(("#", "<", "A word"))]

    marked = [mark for name in ("one", "two") for mark in (f"<!-- {name} -->", f"## Title of {name}")]
    assert [
        "# Mine",
        *marked[:2],
        "<!-- end of one -->",
        "A word after it.",
        *marked[2:],
        "<!-- end of two -->",
    ] == order
    assert ["| ours | 301 | 300 | 302 |", "| ours | 6.00 | 5.00 | 7.00 |"] == [
        line for line in text.splitlines() if line.startswith("| ours")
    ]
    assert "Title of one" in capsys.readouterr().out


def test_a_picture_is_svg_with_bars_as_long_as_their_figures(tmp_path):
    """The rival took twice as long, so its bar is twice as long; names are escaped."""
    section("one", 40).publish(tmp_path)
    root = ET.parse(tmp_path / "images" / "benchmark-one.svg").getroot()  # noqa: S314 - our own
    space = "{http://www.w3.org/2000/svg}"
    bars = [(bar.get("class"), bar.get("width")) for bar in root.iter(f"{space}rect")]

    assert [("rival", "400"), ("ours", "200")] == bars
    assert {"a {group}", "rival & co", "80 ms", "40 ms"} < {text.text for text in root.iter(f"{space}text")}


@pytest.mark.parametrize("name", COMMANDS)
def test_each_benchmark_says_what_it_takes(monkeypatch, capsys, name):
    """``--help`` names the options, and Make knows the command."""
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(f"benchmarks.{name}").main()

    assert (0, True) == (ended.value.code, "--docs" in capsys.readouterr().out)
    assert f"bench-{name}" in (ROOT / "Makefile").read_text()


def test_a_benchmark_runs_from_end_to_end(tmp_path):
    """Servers, data that grows, the join, both strategies and the index, at a size at which no figure means anything."""
    sizes = ["--people", "0.002", "0.003", "--signals", "0.02", "--rounds", "1", "--kinds", "medium"]
    subprocess.run(
        [sys.executable, "-m", "benchmarks.materialize", *sizes, "--docs", tmp_path], cwd=ROOT, check=True, timeout=120
    )
    ways = [line.split(" | ")[3] for line in (tmp_path / "benchmarks.md").read_text().splitlines() if "ours, " in line]

    assert ["ours, cold", "ours, warm"] * 2 == ways
