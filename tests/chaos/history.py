"""The history of one run, for whoever has to find out what went wrong with it."""

from chaos.checker import Violation
from chaos.journal import Journal
from chaos.state import State
from chaos.world import World

MOST_LINES = 60
SHOWN = ("status", "attempts", "failures", "fence", "error_code", "claimed_by", "due_at", "finished_at")


def told(violation: Violation, state: State, world: World, journal: Journal) -> str:
    """Say what was violated, and everything that is known of the run."""
    lines = [f"VIOLATION: {violation.sentence}"]
    for run in state.runs:
        if run["id"] == violation.run_id:
            lines += [
                f"  run {run['id']} of {run['data_date']}: " + ", ".join(f"{name}={run[name]}" for name in SHOWN),
                *(f"  attempt {dict(one)}" for one in state.attempts[run["id"]]),
                *(f"  export {dict(one)}" for one in state.exports[run["id"]]),
                *(f"  mail {dict(one)}" for one in state.emails[run["id"]]),
                *(f"  fault {one}" for one in faults(state, run, journal)),
                *(f"  log {line}" for line in logged(world, str(run["id"]))),
            ]
    return "\n".join(lines)


def faults(state: State, run, journal: Journal) -> list[str]:
    """The faults while a run was worked on, by the seconds since the beginning."""
    rows = state.attempts[run["id"]]
    if not rows:
        return []
    during = journal.during(rows[0]["started_at"], run["updated_at"])
    return [
        f"{event.began - journal.began:.1f} to {(event.ended or 0) - journal.began:.1f} s: {event}" for event in during
    ]


def logged(world: World, run_id: str) -> list[str]:
    """The last lines of the programs' logs that name a run."""
    found = []
    for file in sorted((world.folder / "logs").glob("*.log")):
        lines = file.read_text(errors="replace").splitlines()
        found += [f"{file.stem}: {line}" for line in lines if run_id in line]
    return found[-MOST_LINES:]
