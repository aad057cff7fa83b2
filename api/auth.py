"""
Who asks: an API key in ``X-API-Key``, or a bearer token.

A key that is shown decides alone: with a bad one a good token is of no help, for nobody should have to guess which of
two credentials a request was answered for. Whatever is wrong, the answer is the same 401.
"""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from fastapi import Depends, HTTPException, Request
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer
from starlette.concurrency import run_in_threadpool
from structlog.contextvars import bind_contextvars

from api.bearer import Tokens
from api.limits import Limiter, Verdict
from worker import keys
from worker.database import transaction
from worker.settings import Settings

api_key = APIKeyHeader(
    name="X-API-Key",
    scheme_name="apiKeyAuth",
    description="Organization API key (sk_...). Send as X-API-Key: <key>.",
    auto_error=False,
)
bearer = HTTPBearer(
    bearerFormat="JWT",
    scheme_name="bearerAuth",
    description="Dashboard access token. Send as Authorization: Bearer <token>.",
    auto_error=False,
)


@dataclass(frozen=True, slots=True)
class Caller:
    """
    Whoever has proved to speak for an organization.

    :param name: what the rate limit counts by and the log shows: ``key:<id>`` or ``token:<organization>``
    :param key_id: the API key that was shown; None for a token
    """

    organization_id: UUID
    name: str
    key_id: UUID | None = None


class Door:
    """
    What a process needs to tell who asks, and whether it is too much; kept as ``app.state.door``.

    :raises InvalidSetting: when no bearer token could ever be checked
    """

    def __init__(self, current: Settings) -> None:
        self._tokens = Tokens(current)
        self._limiter = Limiter(current.redis_url.get_secret_value(), current.rate_limit_per_minute)

    def let_in(self, key: str | None, token: str | None) -> tuple[Caller, Verdict | None] | None:
        """Return who asks, and what the rate limit says of it; None for nobody, of whom Redis hears nothing."""
        known = self._by_key(key) if key is not None else self._by_token(token)
        return (known, self._limiter.take(known.name)) if known else None

    def _by_key(self, key: str) -> Caller | None:
        """Look a key up; one that cannot be a key is not worth a connection."""
        if not keys.is_formed(key):
            return None
        with transaction() as connection:
            known = keys.look_up(connection, key)
        return Caller(known.organization_id, f"key:{known.key_id}", known.key_id) if known else None

    def _by_token(self, token: str | None) -> Caller | None:
        """Check a token; it needs no database."""
        organization_id = self._tokens.organization(token) if token else None
        return Caller(organization_id, f"token:{organization_id}") if organization_id else None


async def caller(
    request: Request,
    key: Annotated[str | None, Depends(api_key)],
    token: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)],
) -> Caller:
    """
    Return who asks, and let every further line of the log name them.

    A coroutine, because what a thread binds is lost with its copy of the context.

    :raises HTTPException: 401 when nobody has proved anything, 429 when it is too much
    """
    door: Door = request.app.state.door
    found = await run_in_threadpool(door.let_in, key, token.credentials if token else None)
    if found is None:
        raise HTTPException(HTTPStatus.UNAUTHORIZED, headers={"WWW-Authenticate": "Bearer"})
    known, verdict = found
    bind_contextvars(caller=known.name, organization_id=str(known.organization_id))
    if verdict is not None:
        request.state.answer_headers = verdict.headers
        if not verdict.granted:
            raise HTTPException(HTTPStatus.TOO_MANY_REQUESTS)
    return known


Asking = Annotated[Caller, Depends(caller)]
