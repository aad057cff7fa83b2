"""What the HTTP side says and hears: the only place that speaks camelCase; a file a noun."""

from api.schemas.audiences import (
    Audience,
    AudienceCreate,
    AudienceDeleted,
    AudienceUpdate,
    ConfigCheck,
    ConfigReport,
    FieldError,
    Status,
)
from api.schemas.base import ApiError, ApiErrorResponse, ApiMeta, Asked, Moment, Reply, Schema, spelled
from api.schemas.configs import AudienceConfig, AudienceConfigInput
from api.schemas.exports import IntentAudienceExport
from api.schemas.results import RunResults, RunStats, results_of, stats_of
from api.schemas.runs import IntentAudienceRun, RunInDetail, RunRequest

__all__ = [
    "ApiError",
    "ApiErrorResponse",
    "ApiMeta",
    "Asked",
    "Audience",
    "AudienceConfig",
    "AudienceConfigInput",
    "AudienceCreate",
    "AudienceDeleted",
    "AudienceUpdate",
    "ConfigCheck",
    "ConfigReport",
    "FieldError",
    "IntentAudienceExport",
    "IntentAudienceRun",
    "Moment",
    "Reply",
    "RunInDetail",
    "RunRequest",
    "RunResults",
    "RunStats",
    "Schema",
    "Status",
    "results_of",
    "spelled",
    "stats_of",
]
