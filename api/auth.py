"""Who asks: an API key in ``X-API-Key``, or a bearer token."""

from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from fastapi import Depends, HTTPException
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer

from worker import keys
from worker.database import transaction

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
    """

    organization_id: UUID
    name: str


def caller(
    key: Annotated[str | None, Depends(api_key)],
    _token: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)],
) -> Caller:
    """
    Return who asks.

    :raises HTTPException: 401 when nobody has proved anything
    """
    if key is not None:
        with transaction() as connection:
            known = keys.look_up(connection, key)
        if known:
            return Caller(known.organization_id, f"key:{known.key_id}")
    raise HTTPException(401, headers={"WWW-Authenticate": "Bearer"})


Asking = Annotated[Caller, Depends(caller)]
