"""
A run of the suite from its first server to its verdict.

Day after day becomes ready, each when the runs of the one before have ended, while the storm goes on; then it calms
down, what waits for minutes is made due, and the checker reads every store.
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from uuid import UUID

import psycopg
from chaos import checker, history, state
from chaos.checker import Violation
from chaos.journal import Journal
from chaos.storm import Storm
from chaos.world import CREW, World

# How long a day's runs may take to end once all of them are due, each of them more, and what follows in the calm.
DAY_SECONDS = 240
RUN_SECONDS = 3
CALM_SECONDS = 180
TELL_SECONDS = 10

STATUSES = "SELECT status, count(*) FROM runs WHERE data_date = %s AND run_type = 'daily' GROUP BY status"
ATTEMPTS = "SELECT run_id, max(fence) AS fence FROM run_attempts WHERE run_id = ANY(%s) GROUP BY run_id"
# What waits for a minute or more: nobody waits that long here.
HURRY = (
    "UPDATE exports SET due_at = now() WHERE status = 'processing' AND due_at > now() AND claimed_by IS NULL",
    "UPDATE ready_emails SET due_at = now() WHERE status = 'pending' AND due_at > now() AND claimed_by IS NULL",
)
LEFT = """
SELECT
    (SELECT count(*) FROM runs WHERE status IN ('queued', 'running')) AS runs,
    (SELECT count(*) FROM exports WHERE status = 'processing') AS files,
    (SELECT count(*) FROM ready_emails WHERE status IN ('pending', 'sending')) AS mails
"""
TEND_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Wanted:
    """
    What a run of the suite is asked for.

    :param minutes: how long the storm goes on, at least; the days' runs fall due over that time
    """

    seed: int
    minutes: float
    audiences: int


@dataclass(frozen=True)
class Verdict:
    """What a run of the suite came to; seconds are true ones."""

    wanted: Wanted
    seconds: float
    faults: Counter[str]
    ended_by_themselves: Counter[str]
    statuses: Counter[str]
    attempts: int
    rescues: int
    unknown: int
    longest_restart: float
    histories: list[str]


class Campaign:
    """
    One run of the suite.

    :param told: called with a sentence whenever there is something to tell
    """

    def __init__(self, wanted: Wanted, told: Callable[[str], None]) -> None:
        self.wanted = wanted
        self.journal = Journal()
        self._say = told
        self._waiting: dict[UUID, tuple[int, float]] = {}
        self._seen = 0
        self.longest_restart = 0.0

    def run(self) -> Verdict:
        """Do everything, and judge it."""
        self.tell("starting servers and programs")
        began = time.time()
        with World(audiences=self.wanted.audiences, tenths=self._tenths()) as world:
            world.programs.start(CREW)
            days, late = self._stormed(world)
            self.tell("calm: what is left ends, without faults")
            late += self._settled(world)
            world.programs.stop()
            self.tell("checking")
            found = state.read(world, days)
            violations = [*late, *checker.check(found, self.journal)]
            histories = [history.told(one, found, world, self.journal) for one in violations]
            world.keep = world.keep or bool(histories)
            if histories:
                self.tell(f"{len(histories)} violations; everything is kept in {world.folder}")
        return self._verdict(found, histories, time.time() - began)

    def tell(self, sentence: str) -> None:
        """Tell something, with the time since the beginning."""
        minutes, seconds = divmod(int(time.time() - self.journal.began), 60)
        self._say(f"{minutes:3}:{seconds:02} {sentence}")

    def _tenths(self) -> int:
        """How slow statements are: a short run has no time for slow ones."""
        return 4 if self.wanted.minutes < 5 else 8

    def _stormed(self, world: World) -> tuple[list[date], list[Violation]]:
        """Make day after day ready in the storm; return the days, and what was not done in time."""
        days: list[date] = []
        late: list[Violation] = []
        spread = self.wanted.minutes * 60 / len(world.days)
        most = spread + DAY_SECONDS + RUN_SECONDS * self.wanted.audiences
        with Storm(world, self.wanted.seed, self.journal, self.tell) as storm:
            for day in world.days:
                self._insisted(lambda day=day: world.make_due(day, spread=spread))
                days.append(day)
                if not self._ended(world, storm, day, most):
                    late.append(Violation(f"the runs of {day} had not ended after {most:.0f} s"))
        storm.check()
        return days, late

    def _insisted(self, act: Callable[[], None]) -> None:
        """Do something until the stores let it happen: they may be down."""
        until = time.monotonic() + 60
        while True:
            try:
                return act()
            except Exception:
                if time.monotonic() > until:
                    raise
                time.sleep(0.5)

    def _ended(self, world: World, storm: Storm, day: date, seconds: float) -> bool:
        """Wait until every active audience's run of a day has ended; False when that takes too long."""
        until, told = time.monotonic() + seconds, 0.0
        while time.monotonic() < until:
            storm.check()
            statuses = self._statuses(world, day)
            if statuses is not None:
                self._tend(world)
                done = statuses["completed"] + statuses["failed"]
                if time.monotonic() > told + TELL_SECONDS or done == self.wanted.audiences:
                    told = time.monotonic()
                    self.tell(self._progress(day, statuses, done))
                if done == self.wanted.audiences:
                    return True
            time.sleep(TEND_SECONDS)
        return False

    def _progress(self, day: date, statuses: Mapping[str, int], done: int) -> str:
        """Say how far a day is."""
        return (
            f"{day}: {done} of {self.wanted.audiences} runs ended, {statuses['running']} running,"
            f" {statuses['queued']} queued; {len(self.journal.events)} faults so far"
        )

    def _statuses(self, world: World, day: date) -> Counter[str] | None:
        """Count a day's runs; None while PostgreSQL does not say."""
        try:
            return Counter({row["status"]: row["count"] for row in world.rows(STATUSES, [day])})
        except psycopg.OperationalError:
            return None

    def _tend(self, world: World) -> None:
        """Measure how long the runs of lost workers take to be started again."""
        hits, self._seen = self.journal.hits[self._seen :], len(self.journal.hits)
        for hit in hits:
            self._waiting[hit.run_id] = (hit.fence, hit.at)
        if not self._waiting:
            return
        try:
            rows = world.rows(ATTEMPTS, [list(self._waiting)])
        except psycopg.OperationalError:
            return
        for row in rows:
            fence, at = self._waiting[row["run_id"]]
            if row["fence"] > fence:
                del self._waiting[row["run_id"]]
                self.longest_restart = max(self.longest_restart, time.time() - at)

    def _settled(self, world: World) -> list[Violation]:
        """Wait until nothing is on its way any more, with nothing put off for minutes."""
        until, told = time.monotonic() + CALM_SECONDS, 0.0
        world.programs.start(CREW)
        while True:
            with world.session() as session:
                for statement in HURRY:
                    session.execute(statement)
            self._tend(world)
            [counts] = world.rows(LEFT)
            left = ", ".join(f"{count} {things}" for things, count in counts.items() if count)
            if not left:
                return []
            if time.monotonic() > until:
                return [Violation(f"{left} had not ended {CALM_SECONDS} s after the storm")]
            if time.monotonic() > told + TELL_SECONDS:
                told = time.monotonic()
                self.tell(f"still on their way: {left}")
            time.sleep(TEND_SECONDS)

    def _verdict(self, found: state.State, histories: list[str], seconds: float) -> Verdict:
        """Sum up."""
        attempts = [attempt for rows in found.attempts.values() for attempt in rows]
        return Verdict(
            wanted=self.wanted,
            seconds=seconds,
            faults=self.journal.counts(),
            ended_by_themselves=self.journal.ended_by_themselves,
            statuses=Counter(run["status"] for run in found.runs),
            attempts=len(attempts),
            rescues=sum(attempt["outcome"] == "rescued" for attempt in attempts),
            unknown=sum(mail["status"] == "unknown" for rows in found.emails.values() for mail in rows),
            longest_restart=self.longest_restart,
            histories=histories,
        )
