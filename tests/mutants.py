"""
Take one guard at a time out of a copy of the project, and see that its test notices.

    python tests/mutants.py [WORD ...]

Each guard is a text that must stand exactly once in its file; a guard that moved is an error, not a pass. WORDs choose
the guards whose names hold one of them. Ends with 1 when a test passes without its guard, or fails with all of them.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from guards import GUARDS, Guard

ROOT: Final = Path(__file__).parents[1]
FAILED: Final = 1  # pytest's exit code for tests that failed, as opposed to tests that could not be run


def main(words: list[str]) -> int:
    """Try each chosen guard and print what came of it."""
    guards = [guard for guard in GUARDS if not words or any(word in guard.name for word in words)]
    if not guards:
        say(f"No guard's name holds {' or '.join(words)}.\n")
        return 1
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copy = Path(folder) / "copy"
        copied(copy)
        say(f"The copy as it is: {len(guards)} guards, their tests must pass … ")
        began = time.monotonic()
        if failures(copy, *{guard.test for guard in guards}):
            say("they do not.\n")
            return 1
        say(f"they do ({time.monotonic() - began:.0f} s).\n")
        return report([(guard, *tried(copy, guard)) for guard in guards])


def copied(copy: Path) -> None:
    """Copy what git knows or would take, and make sure that the copy is what gets imported."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.check_output(listed, cwd=ROOT, text=True).split("\0"):
        if name and (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name)
    look = [sys.executable, "-c", "import worker, local; print(worker.__file__, local.__file__)"]
    found = subprocess.check_output(look, cwd=copy, env=environment(copy), text=True).split()
    if not all(Path(file).is_relative_to(copy) for file in found):
        raise RuntimeError("The copy is not what gets imported.")


def environment(copy: Path) -> dict[str, str]:
    """Lead Python to the copy; without stored bytecode, which tells versions of a file apart by the second."""
    return os.environ | {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}


def failures(copy: Path, *tests: str) -> int:
    """Run tests of the copy and return how many failed; raises ``RuntimeError`` when they could not be run."""
    command = [sys.executable, "-m", "pytest", "-q", "--tb=line", "-p", "no:cacheprovider", *sorted(tests)]
    done = subprocess.run(command, cwd=copy, env=environment(copy), capture_output=True, text=True, check=False)
    summary = done.stdout.strip().rpartition("\n")[2]
    failed = re.search(r"(\d+) failed", summary)
    if done.returncode not in (0, FAILED) or " error" in summary or bool(failed) != bool(done.returncode):
        raise RuntimeError(f"The tests could not be run:\n{done.stdout[-3000:]}{done.stderr[-1000:]}")
    return int(failed[1]) if failed else 0


def tried(copy: Path, guard: Guard) -> tuple[bool, float]:
    """Take a guard out, run its test, put it back; return whether the test noticed, and the seconds it took."""
    say(f"Without {guard.name} … ")
    file, began = copy / guard.path, time.monotonic()
    source = file.read_text(encoding="utf-8")
    file.write_text(guard.removed(source), encoding="utf-8")
    try:
        killed = failures(copy, guard.test) > 0
    finally:
        file.write_text(source, encoding="utf-8")
    seconds = time.monotonic() - began
    say(f"{'noticed' if killed else 'NOBODY NOTICED'} ({seconds:.0f} s).\n")
    return killed, seconds


def report(results: list[tuple[Guard, bool, float]]) -> int:
    """Print the table and return the exit code."""
    width = max(len(guard.name) for guard, *_ in results)
    say(f"\n{'guard':{width}}  killed  seconds  test\n")
    for guard, killed, seconds in results:
        say(f"{guard.name:{width}}  {'yes' if killed else 'NO':6}  {seconds:7.1f}  {guard.test.rpartition('/')[2]}\n")
    survivors = sum(not killed for _, killed, _ in results)
    say(f"\n{len(results)} guards, {survivors} of them missed by nobody.\n")
    return 1 if survivors else 0


def say(words: str) -> None:
    """Print at once."""
    sys.stdout.write(words)
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
