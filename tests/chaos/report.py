"""A verdict as sentences, and as a row of docs/chaos.md."""

from pathlib import Path

from chaos.campaign import Verdict

PAGE = Path(__file__).parents[2] / "docs" / "chaos.md"


def summary(verdict: Verdict) -> str:
    """Say what a run came to."""
    statuses = ", ".join(f"{count} {status}" for status, count in sorted(verdict.statuses.items()))
    return "\n".join(
        [
            *verdict.histories,
            f"Seed {verdict.wanted.seed}, {verdict.wanted.audiences} audiences, {verdict.seconds:.0f} s.",
            f"Faults: {verdict.faults.total()} ({_told(verdict)}).",
            f"Programs that ended by themselves and were started again: {verdict.ended_by_themselves.total()}.",
            f"Runs: {statuses}; {verdict.attempts} attempts, {verdict.rescues} rescues.",
            f"Longest time from a kill to the restart of a run: {verdict.longest_restart:.1f} s.",
            f"Mails nobody knows about: {verdict.unknown}. Violations: {len(verdict.histories)}.",
        ]
    )


def append(verdict: Verdict, page: Path = PAGE) -> None:
    """Add a row to the table that the page ends with."""
    failed = verdict.statuses["failed"]
    cells = (
        verdict.wanted.seed,
        f"{verdict.seconds / 60:.0f}",
        verdict.wanted.audiences,
        f"{verdict.faults.total()}: {_told(verdict)}",
        f"{verdict.statuses.total()}, {failed} failed",
        verdict.attempts,
        verdict.rescues,
        f"{verdict.longest_restart:.1f} s",
        verdict.unknown,
        len(verdict.histories),
    )
    with page.open("a", encoding="utf-8") as file:
        file.write(f"| {' | '.join(map(str, cells))} |\n")


def _told(verdict: Verdict) -> str:
    """The faults by what happened to whom."""
    return ", ".join(f"{kind} {count}" for kind, count in sorted(verdict.faults.items()))
