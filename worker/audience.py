"""
What was asked: an audience's config, parsed, normalised, hashed, or refused early in one sentence.

Two configs that ask for the same people have the same canonical JSON, hence the same hash, however they were spelt.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, HttpUrl, ValidationError
from pydantic.alias_generators import to_camel

from worker import filters
from worker.errors import InvalidConfig
from worker.filters import Payload, Whole

LOWEST_SCORE: Final = 50
DEFAULT_MIN_SCORE: Final = 70
HIGHEST_SCORE: Final = 99
MOST_TOPICS: Final = 250
MOST_TOPIC_ID: Final = 2**32 - 1
MOST_BYTES: Final = 65_536


@dataclass(frozen=True, slots=True)
class AudienceConfig:
    """
    An audience's config, every default written out.

    :param topic_ids: 1 to 250 distinct topics in ascending order
    :param min_score: lowest score that counts, 50 to 99
    :param max_score: highest score that counts, min_score to 99
    :param min_topic_overlap: how many of the topics a person must match
    :param filters: dotted filter key to normalised payload, in order of the keys
    :param source_url: where the audience came from; informational, and no part of the hash
    """

    topic_ids: tuple[int, ...]
    min_score: int
    max_score: int
    min_topic_overlap: int
    filters: Mapping[str, Payload]
    source_url: str | None = None

    @property
    def normalized(self) -> dict[str, Any]:
        """The config as plain JSON; parsing it gives the same hash."""
        return {
            "topicIds": list(self.topic_ids),
            "minScore": self.min_score,
            "maxScore": self.max_score,
            "minTopicOverlap": self.min_topic_overlap,
            "filters": dict(self.filters),
        }

    @property
    def canonical(self) -> str:
        """The normalised config as canonical JSON: sorted keys, no spaces, no escapes that are not needed."""
        return json.dumps(self.normalized, sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    @property
    def hash(self) -> str:
        """SHA-256 of the canonical JSON, 64 hex characters."""
        return hashlib.sha256(self.canonical.encode()).hexdigest()

    @property
    def applied_filters(self) -> list[str]:
        """The dotted keys of the filters that apply, in order."""
        return list(self.filters)


def _distinct(topic_ids: list[int]) -> list[int]:
    distinct = sorted(set(topic_ids))
    if not 1 <= len(distinct) <= MOST_TOPICS:
        raise ValueError(f"must hold 1 to {MOST_TOPICS} distinct topics")
    return distinct


TopicId = Annotated[Whole, Field(ge=0, le=MOST_TOPIC_ID)]


class _Request(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", alias_generator=to_camel)

    topic_ids: Annotated[list[TopicId], AfterValidator(_distinct)]
    min_score: Annotated[Whole, Field(ge=0, le=HIGHEST_SCORE)] | None = DEFAULT_MIN_SCORE
    max_score: Annotated[Whole, Field(ge=LOWEST_SCORE, le=HIGHEST_SCORE)] = HIGHEST_SCORE
    min_topic_overlap: Annotated[Whole, Field(ge=1, le=MOST_TOPICS)] = 1
    filters: dict[str, Any] | None = None
    source_url: HttpUrl | None = None


def parse(raw: object) -> AudienceConfig:
    """
    Parse a config as it came from JSON.

    :raises InvalidConfig: naming the first field that breaks a rule, and the rule
    """
    try:
        request = _Request.model_validate(raw)
    except ValidationError as error:
        raise filters.refusal(error) from None
    config = AudienceConfig(
        topic_ids=tuple(request.topic_ids),
        min_score=max(request.min_score or LOWEST_SCORE, LOWEST_SCORE),
        max_score=request.max_score,
        min_topic_overlap=request.min_topic_overlap,
        filters=filters.parse(request.filters or {}),
        source_url=str(request.source_url) if request.source_url else None,
    )
    return _within_bounds(config)


def _within_bounds(config: AudienceConfig) -> AudienceConfig:
    """Check what only the whole config can tell, after defaults and duplicates are settled."""
    if config.min_score > config.max_score:
        raise InvalidConfig("minScore", f"must not exceed maxScore, which is {config.max_score}")
    if config.min_topic_overlap > len(config.topic_ids):
        raise InvalidConfig(
            "minTopicOverlap", f"must not exceed the number of topics, which is {len(config.topic_ids)}"
        )
    if len(config.canonical.encode()) > MOST_BYTES:
        raise InvalidConfig("config", f"must not exceed {MOST_BYTES} bytes as canonical JSON")
    return config
