"""
Whether this process is alive, and whether it is ready: for whoever restarts it, and whoever sends it requests.

Ready is who can answer every request: PostgreSQL, migrated, and ClickHouse are needed. Redis is looked at and told,
but not needed: without it runs are queued all the same, and the scheduler rings for them once it is back.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict
from sqlalchemy.exc import SQLAlchemyError
from starlette.responses import JSONResponse, Response

from api.once import Once
from worker import app, clickhouse, log, migrate
from worker.database import transaction
from worker.errors import AttemptError

logger = log.get(__name__)

router = APIRouter(tags=["Health"])

# How long a probe waits for a store, and how long what it heard serves the next probes.
PATIENCE_SECONDS: Final = 2.0
FRESH_SECONDS: Final = 1.0
NEEDED: Final = frozenset({"postgres", "clickhouse"})


class Alive(BaseModel):
    """The process runs."""

    model_config = ConfigDict(extra="forbid")
    alive: bool


class Ready(BaseModel):
    """Whether requests may be sent here."""

    model_config = ConfigDict(extra="forbid")
    ready: bool


@dataclass(frozen=True, slots=True)
class Heard:
    """
    What came of asking a store.

    :param milliseconds: how long the answer took, or how long it was waited for
    """

    ok: bool
    milliseconds: int
    sentence: str


class Readiness:
    """What the stores said last; one for a process, asked by both of its ports."""

    def __init__(self) -> None:
        self._asked = {name: Once(_timed(ask), fresh_seconds=FRESH_SECONDS) for name, ask in STORES.items()}

    async def heard(self) -> Mapping[str, Heard]:
        """Ask every store at the same time, each for two seconds at most."""
        answers = await asyncio.gather(*(asked.answer(seconds=PATIENCE_SECONDS) for asked in self._asked.values()))
        return {name: answer or DEAF for name, answer in zip(self._asked, answers, strict=True)}


def ready(heard: Mapping[str, Heard]) -> bool:
    """Return whether every store answers that requests need."""
    return all(heard[name].ok for name in NEEDED)


@router.get("/healthz", summary="Whether the process is alive", response_model=Alive)
async def alive() -> Response:
    """Answer, and touch nothing: a store that is down is no reason to restart this process."""
    return JSONResponse({"alive": True})


@router.get(
    "/readyz",
    summary="Whether requests may be sent here",
    response_model=Ready,
    responses={503: {"model": Ready, "description": "A store that requests need does not answer."}},
)
async def readiness(request: Request) -> Response:
    """Say whether the stores answer that requests need, and nothing else: this port is open to everybody."""
    found = ready(await request.app.state.readiness.heard())
    return JSONResponse({"ready": found}, status_code=200 if found else 503)


async def details(request: Request) -> Response:
    """Say the same, and how each store answered: on the internal port."""
    heard = await request.app.state.readiness.heard()
    found = ready(heard)
    stores: dict[str, Any] = {name: {**asdict(one), "needed": name in NEEDED} for name, one in heard.items()}
    return JSONResponse({"ready": found, "stores": stores}, status_code=200 if found else 503)


def _postgres() -> tuple[bool, str]:
    """Ask PostgreSQL for its revision."""
    try:
        with transaction() as connection:
            if migrate.pending(connection):
                return False, "PostgreSQL lacks this version's tables; run: audience-worker migrate"
    except SQLAlchemyError:
        return False, "PostgreSQL does not answer."
    return True, "PostgreSQL answers and is migrated."


def _clickhouse() -> tuple[bool, str]:
    """Ask ClickHouse for one row."""
    try:
        clickhouse.ping()
    except AttemptError as error:
        return False, error.sentence
    return True, "ClickHouse answers."


def _redis() -> tuple[bool, str]:
    """Ask Redis for a sign of life."""
    if app.answers():
        return True, "Redis answers."
    return False, "Redis does not answer; runs are queued, and worked on once it is back."


STORES: Final[Mapping[str, Callable[[], tuple[bool, str]]]] = {
    "postgres": _postgres,
    "clickhouse": _clickhouse,
    "redis": _redis,
}
DEAF: Final = Heard(False, round(PATIENCE_SECONDS * 1000), f"There was no answer within {PATIENCE_SECONDS:g} s.")


def _timed(ask: Callable[[], tuple[bool, str]]) -> Callable[[], Heard]:
    """Measure how long an answer takes; a question that breaks is an answer, too."""

    def timed() -> Heard:
        started = time.monotonic()
        try:
            ok, sentence = ask()
        except Exception:
            logger.exception("readiness_broke")
            ok, sentence = False, "This could not be asked; the log says why."
        return Heard(ok, round((time.monotonic() - started) * 1000), sentence)

    return timed
