"""
Every environment variable, once.

Each field says its meaning, its unit and its default; what cannot work is refused at boot in one sentence that names
the variable. This is the only module of the worker that reads the environment.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any, Literal, Self

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from worker.backoff import Policy
from worker.errors import InvalidSetting

# Between killing a query that has no time left and the platform's SIGKILL, in seconds.
LEAVE_SECONDS = 8


class Settings(BaseSettings):
    """The frozen settings of one process."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True)

    database_url: SecretStr = Field(description="PostgreSQL, as postgresql+psycopg://user:password@host:port/name.")
    redis_url: SecretStr = Field(description="Redis, a database of its own with noeviction: redis://host:port/0.")
    clickhouse_url: SecretStr = Field(description="ClickHouse over HTTP: http://user:password@host:port/database.")
    clickhouse_cluster: str = Field("", description="Cluster for ON CLUSTER in migrations; empty for one server.")
    clickhouse_replicated: bool = Field(False, description="Whether migrations create Replicated engines.")
    clickhouse_sharded: bool = Field(
        False, description="Whether the cluster has several shards, each with a part of every table (docs/scale.md)."
    )

    log_format: Literal["json", "console"] = Field("json", description="One JSON line an event, or coloured text.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="The least level logged.")

    lease_seconds: float = Field(60, gt=0, description="How long a claim holds without renewal, in seconds.")
    lease_margin_seconds: float = Field(
        10, gt=0, description="A claim unconfirmed this many seconds before its end counts as lost."
    )
    charged_budget: int = Field(8, ge=1, description="How many charged attempts a run may spend.")
    backoff_base_seconds: float = Field(15, gt=0, description="Wait after the first failure, in seconds; doubles.")
    backoff_cap_seconds: float = Field(900, gt=0, description="Longest wait between attempts, in seconds.")
    deadline_seconds: float = Field(43_200, gt=0, description="From a run's first claim to giving up, in seconds.")

    drain_seconds: float = Field(60, gt=0, description="How long one bell keeps claiming, in seconds.")
    shutdown_grace_seconds: float = Field(30, ge=12, description="From SIGTERM to SIGKILL, as the platform has it.")
    lane_bells: int = Field(4, ge=1, description="Bells kept waiting per lane: the drains worth starting at once.")
    lane_max_statements: int = Field(4, ge=1, description="ClickHouse statements a lane may have running, everywhere.")
    organization_max_statements: int = Field(
        2, ge=1, description="An organization's share of a lane while one below its own waits, in statements."
    )
    deaf_seconds: float = Field(
        60,
        gt=0,
        description="A worker that leaves bells waiting this long with a process free ends itself, in seconds.",
    )
    ring_seconds: float = Field(5, gt=0, description="Period of control.ring, in seconds.")
    queue_seconds: float = Field(15, gt=0, description="Period of control.queue_daily_runs, in seconds.")
    watch_seconds: float = Field(15, gt=0, description="Period of control.watch_data, in seconds.")
    rescue_seconds: float = Field(10, gt=0, description="Period of control.rescue, in seconds.")
    count_seconds: float = Field(60, gt=0, description="Period of control.count, in seconds.")
    prune_seconds: float = Field(600, gt=0, description="Period of control.prune, in seconds.")

    query_seconds: int = Field(120, ge=1, description="max_execution_time of one ClickHouse statement, in seconds.")
    query_client_seconds: int = Field(130, ge=2, description="How long the client waits for a statement, in seconds.")
    query_memory_bytes: int = Field(4_000_000_000, ge=1_000_000, description="max_memory_usage of one statement.")
    query_threads: int = Field(0, ge=0, description="max_threads of one statement; 0 leaves it to ClickHouse.")
    query_workload: str = Field("", description="ClickHouse's workload of daily statements; empty for its default.")
    query_workload_manual: str = Field("", description="The same of the statements that somebody waits for.")
    index_wait_seconds: float = Field(
        600, ge=0, description="How long daily runs wait for their day's serving index, in seconds; 0 for no index."
    )
    index_piece_signals: int = Field(
        10_000_000,
        ge=1,
        description="Most signals of one piece of the serving index, which must fit into memory; those of a score that"
        " can count.",
    )
    index_piece_people: int = Field(
        50_000_000, ge=1, description="Most people read for one piece, which must be done within QUERY_SECONDS."
    )
    batch_runs: int = Field(64, ge=1, le=500, description="Most daily runs that share one ClickHouse statement.")
    task_soft_seconds: int = Field(600, ge=1, description="Celery's soft time limit of a drain, in seconds.")
    task_hard_seconds: int = Field(660, ge=1, description="Celery's hard time limit of a drain, in seconds.")

    snapshot_retention_days: int = Field(90, ge=30, description="How long result rows are kept, in days.")
    run_retention_days: int = Field(180, ge=1, description="How long a run is kept after its end, in days.")
    attempt_retention_days: int = Field(
        30, ge=14, description="How long the attempts of a run are kept after its end, in days."
    )

    anomaly_factor: float = Field(
        10, gt=1, description="A result so many times larger or smaller than the one before is an anomaly."
    )
    anomaly_least: int = Field(20, ge=1, description="The larger of the two must have so many people to be one.")
    hold_anomalies: bool = Field(
        False, description="Whether an anomaly's mails and audience size wait for: audience-worker runs publish."
    )

    storage_url: str = Field("file:///var/lib/audience-worker/exports", description="file:///folder or s3://bucket.")
    storage_endpoint: str = Field("", description="Endpoint of an S3-compatible store; empty for the provider's.")
    storage_region: str = Field("us-east-1", description="Region of the bucket.")
    storage_access_key: SecretStr = Field(SecretStr(""), description="Access key of the bucket.")
    storage_secret_key: SecretStr = Field(SecretStr(""), description="Secret key of the bucket.")
    export_row_cap: int = Field(300_000, ge=1, description="Most rows of one CSV.")
    export_days: int = Field(30, ge=1, description="How long a stored CSV is kept, in days.")
    csv_defused: bool = Field(True, description="Whether cells that a spreadsheet would run are defused.")

    mail_url: SecretStr = Field(
        SecretStr("smtp://localhost:25"),
        description="smtp://user:password@host:port, or file:///folder to write mails instead of sending them.",
    )
    mail_tls: Literal["starttls", "tls", "none"] = Field("starttls", description="How SMTP is encrypted.")
    mail_from: str = Field("Audiences <audiences@localhost>", description="Sender of ready emails.")
    mail_hours: float = Field(24, gt=0, description="How long temporary refusals are retried, in hours.")
    mail_seconds: float = Field(30, gt=0, description="How long one step of the SMTP conversation may take.")
    web_host: str = Field("127.0.0.1", description="Address that the HTTP side listens on; 0.0.0.0 for every one.")
    web_port: int = Field(8000, ge=1, le=65_535, description="Its port.")
    internal_host: str = Field("127.0.0.1", description="Address that /metrics and the details of /readyz listen on.")
    internal_port: int = Field(9100, ge=1, le=65_535, description="Their port, never to be published.")
    web_threads: int = Field(
        16, ge=1, description="Requests that one web process works on at once, each with a connection to PostgreSQL."
    )
    web_query_seconds: int = Field(
        20, ge=1, description="max_execution_time of one ClickHouse statement of a web request, in seconds."
    )
    public_url: str = Field("http://localhost:8000", description="Where clients reach the HTTP side; links start so.")
    token_keys: SecretStr = Field(
        description="Keys that sign links, newest first, comma-separated, 32 characters or more each."
    )
    token_days: int = Field(7, ge=1, description="How long a link in a mail works, in days.")
    rate_limit_per_minute: int = Field(
        600, ge=0, description="Requests a minute of one API key, or of all tokens of an organization; 0 for no limit."
    )

    jwt_algorithm: Literal["", "HS256", "RS256"] = Field(
        "", description="How bearer tokens are signed; empty for none."
    )
    jwt_secret: SecretStr = Field(SecretStr(""), description="HS256: the secret, 32 bytes or more.")
    jwt_public_key: str = Field("", description="RS256: the public key as PEM; its line ends may be written as \\n.")
    jwt_jwks_file: str = Field("", description="RS256: a file with the public keys as a JSON Web Key Set.")
    jwt_issuer: str = Field("", description="Whom bearer tokens must come from: their iss.")
    jwt_audience: str = Field("", description="Whom bearer tokens must be meant for: their aud.")
    jwt_organization_claim: str = Field(
        "organization_id", description="The claim of a bearer token that holds the organization's UUID."
    )

    @model_validator(mode="after")
    def _limits_are_ordered(self) -> Self:
        """Refuse time limits of which an outer one would cut an inner one short."""
        if self.query_client_seconds <= self.query_seconds + 5:
            raise ValueError("QUERY_CLIENT_SECONDS must exceed QUERY_SECONDS by more than 5")
        # A run claimed at the end of a drain still needs its three statements: count, write, verify.
        if self.task_soft_seconds < self.drain_seconds + 3 * self.query_client_seconds + 30:
            raise ValueError("TASK_SOFT_SECONDS must be at least DRAIN_SECONDS + 3 * QUERY_CLIENT_SECONDS + 30")
        if self.task_hard_seconds <= self.task_soft_seconds:
            raise ValueError("TASK_HARD_SECONDS must exceed TASK_SOFT_SECONDS")
        if self.lease_margin_seconds >= self.lease_seconds / 2:
            raise ValueError("LEASE_MARGIN_SECONDS must be less than half of LEASE_SECONDS")
        return self

    @model_validator(mode="after")
    def _retentions_are_ordered(self) -> Self:
        """Refuse to let a run go before everything that leads to it."""
        led = self.snapshot_retention_days + max(self.export_days, self.token_days)
        if self.run_retention_days < led:
            raise ValueError(
                "RUN_RETENTION_DAYS must be at least SNAPSHOT_RETENTION_DAYS plus the longer of EXPORT_DAYS and TOKEN_DAYS"
            )
        if self.attempt_retention_days > self.run_retention_days:
            raise ValueError("ATTEMPT_RETENTION_DAYS must not exceed RUN_RETENTION_DAYS")
        return self

    @model_validator(mode="after")
    def _shards_are_of_a_cluster(self) -> Self:
        """Refuse shards that nobody names."""
        if self.clickhouse_sharded and not self.clickhouse_cluster:
            raise ValueError("CLICKHOUSE_SHARDED needs CLICKHOUSE_CLUSTER, the cluster that the shards are of")
        return self

    @model_validator(mode="after")
    def _addresses_are_spelled_right(self) -> Self:
        """Refuse an address of another kind of server before anything connects to it."""
        kinds = {
            "DATABASE_URL": (self.database_url.get_secret_value(), ("postgresql+psycopg://",)),
            "REDIS_URL": (self.redis_url.get_secret_value(), ("redis://", "rediss://")),
            "CLICKHOUSE_URL": (self.clickhouse_url.get_secret_value(), ("http://", "https://")),
            "STORAGE_URL": (self.storage_url, ("file:///", "s3://")),
            "MAIL_URL": (self.mail_url.get_secret_value(), ("smtp://", "file:///")),
            "PUBLIC_URL": (self.public_url, ("http://", "https://")),
        }
        for name, (value, starts) in kinds.items():
            if not value.startswith(starts):
                raise ValueError(f"{name} must start with {' or '.join(starts)}")
        return self

    @model_validator(mode="after")
    def _keys_are_long_enough(self) -> Self:
        """Refuse a signing key that could be guessed."""
        if not self.token_ring or any(len(key) < 32 for key in self.token_ring):  # noqa: PLR2004 - the length HMAC-SHA256 keys should have
            raise ValueError("TOKEN_KEYS must hold keys of 32 characters or more")
        return self

    @model_validator(mode="after")
    def _tokens_are_signed_one_way(self) -> Self:
        """Refuse anything but one algorithm with the one kind of key that it takes."""
        secret = self.jwt_secret.get_secret_value()
        public = [self.jwt_public_key, self.jwt_jwks_file]
        if not self.jwt_algorithm:
            if secret or any(public) or self.jwt_issuer or self.jwt_audience:
                raise ValueError("JWT_ALGORITHM must be HS256 or RS256 where other settings of bearer tokens are set")
            return self
        if not (self.jwt_issuer and self.jwt_audience):
            raise ValueError("JWT_ISSUER and JWT_AUDIENCE must be set where JWT_ALGORITHM is")
        if self.jwt_algorithm == "HS256" and (any(public) or len(secret.encode()) < 32):  # noqa: PLR2004 - as its hash
            raise ValueError("HS256 needs a JWT_SECRET of 32 bytes or more, and no JWT_PUBLIC_KEY or JWT_JWKS_FILE")
        if self.jwt_algorithm == "RS256" and (secret or all(public) or not any(public)):
            raise ValueError("RS256 needs either JWT_PUBLIC_KEY or JWT_JWKS_FILE, and no JWT_SECRET")
        return self

    @property
    def token_ring(self) -> tuple[str, ...]:
        """The keys that sign links, newest first."""
        return tuple(key for key in self.token_keys.get_secret_value().split(",") if key)

    @property
    def shards(self) -> str | None:
        """The cluster whose shards hold the tables; None for one server, or one shard with its replicas."""
        return self.clickhouse_cluster if self.clickhouse_sharded else None

    def workload(self, run_type: str) -> str:
        """Name ClickHouse's workload of a run's statements: somebody waits for all but the daily ones."""
        return self.query_workload if run_type == "daily" else self.query_workload_manual

    @property
    def anomaly_limits(self) -> dict[str, Any]:
        """What makes a result an anomaly, and whether it is held back then, as ``runs.compare`` takes it."""
        return {"factor": self.anomaly_factor, "least": self.anomaly_least, "hold": self.hold_anomalies}

    @property
    def retry_policy(self) -> Policy:
        """How failed attempts are tried again."""
        return Policy(
            budget=self.charged_budget,
            base_seconds=self.backoff_base_seconds,
            cap_seconds=self.backoff_cap_seconds,
            deadline_seconds=self.deadline_seconds,
        )


def read() -> Settings:
    """
    Read the environment.

    :raises InvalidSetting: naming the first variable that cannot work
    """
    try:
        return Settings()  # type: ignore[call-arg]  # the environment fills what has no default
    except ValidationError as error:
        raise InvalidSetting(_sentence(error.errors(include_input=False)[0])) from None


@cache
def current() -> Settings:
    """Return this process's settings, read once."""
    return read()


def _sentence(problem: Mapping[str, object]) -> str:
    """Say what is wrong with one variable, without repeating its value."""
    where = problem["loc"]
    name = str(where[0]).upper() if isinstance(where, tuple) and where else ""
    if problem["type"] == "missing":
        return f"{name} is not set"
    message = str(problem["msg"]).removeprefix("Value error, ")
    return f"{name}: {message}" if name else message
