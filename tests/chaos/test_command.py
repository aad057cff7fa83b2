"""``make chaos`` as a stranger runs it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

TESTS = Path(__file__).parents[1]


def _start(folder: Path, *options: str) -> subprocess.Popen[str]:
    """Start the command, its folders below one folder; what it prints comes as one stream."""
    return subprocess.Popen(
        [sys.executable, "-m", "chaos", *options],
        cwd=TESTS.parent,
        env={**os.environ, "PYTHONPATH": str(TESTS), "TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _naming(folder: Path) -> list[str]:
    """The processes that work in a folder, name it, or find it in their environment."""
    found = []
    for process in psutil.process_iter():
        try:
            words = [process.cwd(), *process.cmdline(), *process.environ().values()]
        except psutil.Error:
            continue
        if any(f"{folder}/chaos-" in word for word in words):
            found.append(" ".join(process.cmdline()))
    return found


def test_ctrl_c_leaves_nothing_behind(tmp_path):
    """In the midst of the storm every process ends and every file goes, and the page gets no row."""
    page = (TESTS.parent / "docs" / "chaos.md").read_text(encoding="utf-8")
    chaos = _start(tmp_path, "--seed", "1", "--minutes", "1", "--audiences", "3")
    said = []
    for line in chaos.stdout:
        said.append(line)
        if len(said) == 6:
            break
    assert _naming(tmp_path), said
    chaos.send_signal(signal.SIGINT)
    said.append(chaos.communicate(timeout=120)[0])

    assert (130, [], []) == (chaos.returncode, _naming(tmp_path), list(tmp_path.glob("chaos-*"))), said
    assert said[-1].endswith("Everything that was started has been stopped.\n")
    assert page == (TESTS.parent / "docs" / "chaos.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("options", [("--minutes", "0"), ("--audiences", "0"), ("--seed", "x")])
def test_what_cannot_be_done_is_said_in_a_sentence(tmp_path, options):
    """Bad input starts nothing."""
    chaos = _start(tmp_path, *options)
    said = chaos.communicate(timeout=60)[0]

    assert (2, True) == (chaos.returncode, "error: " in said.splitlines()[-1]), said
