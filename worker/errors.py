"""
Everything that can go wrong with a run or its export, each with its stable code and what is done about it.

    WorkerError
    ├── Refusal                     bad input: one plain sentence, nothing written
    │   ├── InvalidSetting          a setting that cannot work, named, at boot
    │   ├── InvalidField            a field of a request, with the rule it breaks
    │   │   └── InvalidConfig       CONFIG_INVALID: a field of an audience's config
    │   ├── NotFound                not in this organization
    │   │   └── AudienceNotFound · RunNotFound · ExportNotFound
    │   ├── DataNotReady            DATA_NOT_READY: no ready date to read
    │   └── NotAllowed              the thing exists, but not in a state that allows this
    ├── ClaimLost                   the fence no longer matches: stop, write nothing
    ├── WorkerLeaving               told to stop, and no time left: hand the work back
    └── AttemptError                ends an attempt; its class decides what follows
        ├── ConfigRefused           permanent
        ├── DataMissing · DataChanged                                    waiting
        ├── ClickHouseUnavailable · PostgresUnavailable ·
        │   StorageUnavailable                                           infrastructure
        ├── ClickHouseOverloaded                                         capacity
        ├── ClickHouseMisconfigured · StorageMisconfigured               operator
        ├── QueryTimeout · QueryMemoryLimit · QueryCancelled ·
        │   SnapshotMismatch · ExportMismatch · WorkerLost ·
        │   InternalError                                                transient, charged
        └── DeadlineExceeded · Superseded                                final

The docstring of a leaf is the sentence an operator and an API client read; the driver's own text, which carries
hosts, goes to the log only.
"""

from enum import StrEnum
from typing import ClassVar


class Retry(StrEnum):
    """What an error means for the run that met it."""

    PERMANENT = "permanent"
    WAITING = "waiting"
    INFRASTRUCTURE = "infrastructure"
    CAPACITY = "capacity"
    OPERATOR = "operator"
    TRANSIENT = "transient"
    FINAL = "final"

    @property
    def charged(self) -> bool:
        """Whether an attempt that ends so counts against the run's budget."""
        return self in (Retry.PERMANENT, Retry.TRANSIENT)

    @property
    def closes_lane(self) -> bool:
        """Whether the fault lies with the servers, so that no further run should be claimed into it."""
        return self in (Retry.INFRASTRUCTURE, Retry.CAPACITY)


class WorkerError(Exception):
    """The root of this project's errors."""


class Refusal(WorkerError):
    """Bad input, refused in one plain sentence; nothing was written."""

    code: ClassVar[str] = "INVALID_REQUEST"


class InvalidSetting(Refusal):
    """A setting cannot work."""

    code = "INVALID_SETTING"


class InvalidField(Refusal):
    """
    One field of a request breaks a rule.

    :param field: the field's name in the house, ``refresh_cron`` for example; a door says its own name for it
    :param rule: what the field must hold, as the end of a sentence
    """

    def __init__(self, field: str, rule: str) -> None:
        self.field = field
        self.rule = rule
        super().__init__(f"{field}: {rule}")


class InvalidConfig(InvalidField):
    """
    An audience's config breaks a rule.

    :param field: dotted name within the config as clients spell it, ``filters.role.seniority`` for example
    """

    code = "CONFIG_INVALID"


class NotFound(Refusal):
    """There is no such thing in this organization."""

    code = "NOT_FOUND"


class AudienceNotFound(NotFound):
    """There is no such audience in this organization."""

    code = "AUDIENCE_NOT_FOUND"


class RunNotFound(NotFound):
    """There is no such run in this organization."""

    code = "RUN_NOT_FOUND"


class ExportNotFound(NotFound):
    """There is no such export in this organization."""

    code = "EXPORT_NOT_FOUND"


class DataNotReady(Refusal):
    """No ready day of intent data can be read."""

    code = "DATA_NOT_READY"


class NotAllowed(Refusal):
    """
    The thing exists, but its state does not allow this.

    :param code: stable code, ``RUN_ALREADY_RUNNING`` for example
    """

    def __init__(self, code: str, sentence: str) -> None:
        self.code = code  # type: ignore[misc]
        super().__init__(sentence)


class ClaimLost(WorkerError):
    """The claim is no longer ours: whatever comes next belongs to somebody else."""


class WorkerLeaving(WorkerError):
    """The worker goes away before the work can end: it is handed back, uncharged."""


class AttemptError(WorkerError):
    """Ends an attempt. Subclasses carry the code that is stored and the class that decides what follows."""

    code: ClassVar[str]
    retry: ClassVar[Retry]

    @property
    def sentence(self) -> str:
        """The sentence stored on the run: the class's own, never the cause's text."""
        return " ".join((type(self).__doc__ or "").split())


class ConfigRefused(AttemptError):
    """The audience's definition cannot be run; change it and queue a new run."""

    code = "CONFIG_INVALID"
    retry = Retry.PERMANENT


class DataMissing(AttemptError):
    """The day's intent data is not ready."""

    code = "DATA_NOT_READY"
    retry = Retry.WAITING


class DataChanged(AttemptError):
    """The data was replaced while the run was reading it."""

    code = "DATA_CHANGED"
    retry = Retry.WAITING


class ClickHouseUnavailable(AttemptError):
    """ClickHouse cannot be reached."""

    code = "CLICKHOUSE_UNAVAILABLE"
    retry = Retry.INFRASTRUCTURE


class PostgresUnavailable(AttemptError):
    """The database could not be reached, or ended the session."""

    code = "POSTGRES_UNAVAILABLE"
    retry = Retry.INFRASTRUCTURE


class ClickHouseOverloaded(AttemptError):
    """ClickHouse is too busy to take the query."""

    code = "CLICKHOUSE_OVERLOADED"
    retry = Retry.CAPACITY


class ClickHouseMisconfigured(AttemptError):
    """ClickHouse refused the statement: the deployment, not the audience, needs mending."""

    code = "CLICKHOUSE_MISCONFIGURED"
    retry = Retry.OPERATOR


class QueryTimeout(AttemptError):
    """The query took longer than it may."""

    code = "QUERY_TIMEOUT"
    retry = Retry.TRANSIENT


class QueryMemoryLimit(AttemptError):
    """The query needed more memory than it may use."""

    code = "QUERY_MEMORY_LIMIT"
    retry = Retry.TRANSIENT


class QueryCancelled(AttemptError):
    """The query was cancelled on the server."""

    code = "QUERY_CANCELLED"
    retry = Retry.TRANSIENT


class SnapshotMismatch(AttemptError):
    """The rows written are not the rows counted."""

    code = "SNAPSHOT_MISMATCH"
    retry = Retry.TRANSIENT


class StorageUnavailable(AttemptError):
    """The file storage cannot be reached."""

    code = "STORAGE_UNAVAILABLE"
    retry = Retry.INFRASTRUCTURE


class StorageMisconfigured(AttemptError):
    """The file storage refused the file: the deployment, not the audience, needs mending."""

    code = "STORAGE_MISCONFIGURED"
    retry = Retry.OPERATOR


class ExportMismatch(AttemptError):
    """The rows read for the file are not the rows of the run."""

    code = "EXPORT_MISMATCH"
    retry = Retry.TRANSIENT


class WorkerLost(AttemptError):
    """The worker that held the run stopped answering."""

    code = "WORKER_LOST"
    retry = Retry.TRANSIENT


class InternalError(AttemptError):
    """Something unforeseen went wrong; the worker's log has the details."""

    code = "INTERNAL_ERROR"
    retry = Retry.TRANSIENT


class DeadlineExceeded(AttemptError):
    """The run could not be completed before its deadline."""

    code = "DEADLINE_EXCEEDED"
    retry = Retry.FINAL


class Superseded(AttemptError):
    """A newer day's run has taken this one's place."""

    code = "SUPERSEDED"
    retry = Retry.FINAL
