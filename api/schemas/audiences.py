"""Audiences, as clients see them and as they ask for them."""

from typing import Annotated, Any, Final, Literal, Self, cast
from uuid import UUID

from pydantic import Field
from pydantic.alias_generators import to_camel
from sqlalchemy import RowMapping
from typing_extensions import TypeAliasType

from api.schemas.base import Asked, Moment, Schema
from api.schemas.configs import AudienceConfig, AudienceConfigInput
from worker import audience, audiences, due, plan
from worker.errors import InvalidConfig, InvalidField
from worker.filters import Whole

USUAL: Final = audiences.Refresh()
UNSEEN: Final = (
    r"\u0000-\u001f\u007f-\u009f\u00ad\u0600-\u0605\u061c\u06dd\u070f\u0890-\u0891\u08e2\u180e\u200b\u200e-\u200f"
    r"\u2028-\u202e\u2060-\u2064\u2066-\u206f\ufeff\ufff9-\ufffb"
)
"""What has no place in a name, as far as every dialect of regular expressions can spell it."""
NAME: Final = rf"^[^{UNSEEN}]*[^\s{UNSEEN}][^{UNSEEN}]*$"
CRON: Final = "^ *[0-9A-Za-z*,/-]+( +[0-9A-Za-z*,/-]+){4} *$"


def _zoned(schema: dict[str, Any]) -> None:
    schema["enum"] = sorted(due.zones())


Status = Literal["draft", "active", "paused"]
Name = Annotated[
    str,
    Field(
        description="Mails call the audience so.",
        json_schema_extra={"minLength": 1, "maxLength": audiences.LONGEST_NAME, "pattern": NAME},
        examples=["Heads of sales"],
    ),
]
Cron = Annotated[
    str,
    Field(
        description="Minute, hour, day of month, month, day of week, in the audience's time zone; numbers, names of"
        " months and weekdays, and the signs * , - /. It must name a date that exists.",
        json_schema_extra={"format": "cron", "pattern": CRON},
        examples=["0 6 * * *", "30 7 * * 1-5"],
    ),
]
Window = Annotated[
    Whole,
    Field(
        description="Starts are spread over this many minutes after the cron's time.",
        json_schema_extra={"minimum": 0, "maximum": audiences.LONGEST_WINDOW},
    ),
]
TimeZone = TypeAliasType(
    "TimeZone", Annotated[str, Field(description="The name of an IANA time zone.", json_schema_extra=_zoned)]
)
Recipient = Annotated[str, Field(json_schema_extra={"format": "email"})]
Recipients = Annotated[
    list[Recipient],
    Field(
        max_length=audiences.MOST_RECIPIENTS,
        description="Who hears of a completed run; each once. Domains that receive no mail, such as .test, are refused.",
    ),
]
DailyRefresh = Annotated[bool, Field(description="Whether it is refreshed every day while it is active.")]
OnManual = Annotated[bool, Field(description="Whether completed manual runs are announced too.")]


class FieldError(Schema):
    """A field of a request, and the rule it breaks."""

    field: str = Field(examples=["config.filters.role.seniority"])
    rule: str

    @classmethod
    def of(cls, refused: InvalidField) -> Self:
        """Name the field as clients do."""
        field = to_camel(refused.field)
        if isinstance(refused, InvalidConfig):
            field = "config" if refused.field == "config" else f"config.{refused.field}"
        return cls(field=field, rule=refused.rule.removesuffix("."))


class Audience(Schema):
    """A saved definition of whom to find, and when it is refreshed."""

    id: UUID
    organization_id: UUID
    name: str
    status: Status
    daily_refresh_enabled: bool
    audience_size: int = Field(
        description="Result count of the last completed run. A changed config keeps it until a run of its own completes."
    )
    last_refreshed_at: Moment | None = Field(description="When that run completed.")
    config: AudienceConfig
    config_hash: str = Field(description="SHA-256 of the canonical config, 64 hex characters.")
    refresh_cron: str
    refresh_window_minutes: int
    timezone: str
    notify_emails: list[str]
    notify_on_manual: bool
    next_refresh_at: Moment | None = Field(description="Null unless it is active and refreshed daily.")
    created_at: Moment
    updated_at: Moment

    @classmethod
    def of(cls, row: RowMapping) -> Self:
        """Read a row of ``audiences``."""
        others = {name: row[name] for name in cls.model_fields if name not in ("config", "next_refresh_at")}
        config = AudienceConfig.of(row["config"], row["source_url"])
        return cls(**others, config=config, next_refresh_at=row["next_due_at"])


class AudienceCreate(Asked):
    """A new audience."""

    name: Name
    config: AudienceConfigInput
    status: Status = "draft"
    daily_refresh_enabled: DailyRefresh = USUAL.daily_refresh_enabled
    refresh_cron: Cron = USUAL.refresh_cron
    refresh_window_minutes: Window = USUAL.refresh_window_minutes
    timezone: TimeZone = USUAL.timezone
    notify_emails: Recipients = Field(default_factory=list)
    notify_on_manual: OnManual = USUAL.notify_on_manual

    @property
    def refresh(self) -> audiences.Refresh:
        """When it is to be refreshed and who hears of it."""
        return audiences.Refresh(
            self.refresh_cron,
            self.refresh_window_minutes,
            self.timezone,
            daily_refresh_enabled=self.daily_refresh_enabled,
            notify_emails=tuple(self.notify_emails),
            notify_on_manual=self.notify_on_manual,
        )


def _unchanged() -> Any:
    """Stand for what is left out; never looked at, and null is nobody's value."""
    return None


class AudienceUpdate(Asked):
    """What is to be different; what is left out stays as it is. A config is replaced as a whole."""

    name: Name = Field(default_factory=_unchanged)
    config: AudienceConfigInput = Field(default_factory=_unchanged)
    status: Status = Field(default_factory=_unchanged)
    daily_refresh_enabled: DailyRefresh = Field(default_factory=_unchanged)
    refresh_cron: Cron = Field(default_factory=_unchanged)
    refresh_window_minutes: Window = Field(default_factory=_unchanged)
    timezone: TimeZone = Field(default_factory=_unchanged)
    notify_emails: Recipients = Field(default_factory=_unchanged)
    notify_on_manual: OnManual = Field(default_factory=_unchanged)

    @property
    def changes(self) -> audiences.Changes:
        """What was given; raises InvalidConfig for a config that cannot work."""
        given = {name: getattr(self, name) for name in self.model_fields_set}
        if "config" in given:
            given["config"] = audience.parse(self.config.root)
        return cast(audiences.Changes, given)


class AudienceDeleted(Schema):
    """A deleted audience."""

    id: UUID
    cancelled_runs: int = Field(description="How many of its runs were still queued, and are cancelled now.")


class ConfigCheck(Asked):
    """A config to be looked at."""

    config: Any = Field(
        description="Any JSON: what is no valid config is answered as such.",
        json_schema_extra={"anyOf": [{"$ref": f"#/components/schemas/{AudienceConfigInput.__name__}"}, {}]},
    )


class ConfigReport(Schema):
    """What a config comes to, or what is wrong with it."""

    valid: bool
    config_hash: str | None = None
    normalized_config: AudienceConfig | None = None
    applied_filters: list[str] | None = Field(
        default=None, description="The dotted keys of the filters that apply, in order."
    )
    strategy: str | None = Field(default=None, description="How the people are found.", examples=[plan.STRATEGY])
    errors: list[FieldError] = Field(default_factory=list, description="Empty for a valid config.")

    @classmethod
    def of(cls, raw: object) -> Self:
        """Look at a config as it came from JSON."""
        try:
            config = audience.parse(raw)
        except InvalidConfig as refused:
            return cls(valid=False, errors=[FieldError.of(refused)])
        return cls(
            valid=True,
            config_hash=config.hash,
            normalized_config=AudienceConfig.of(config.normalized, config.source_url),
            applied_filters=config.applied_filters,
            strategy=plan.STRATEGY,
        )
