"""What the HTTP side says and hears: the only place that speaks camelCase; a file a noun."""

from api.schemas.base import ApiError, ApiErrorResponse, ApiMeta, Moment, Reply, Schema, spelled
from api.schemas.runs import IntentAudienceRun, RunRequest

__all__ = [
    "ApiError",
    "ApiErrorResponse",
    "ApiMeta",
    "IntentAudienceRun",
    "Moment",
    "Reply",
    "RunRequest",
    "Schema",
    "spelled",
]
