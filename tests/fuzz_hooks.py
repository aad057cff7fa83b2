"""What OpenAPI cannot say of an audience: rules between fields, which crons and which addresses there are."""

from typing import Any

import schemathesis
from hypothesis import strategies as st

from worker import audience

CRONS = ("0 6 * * *", "30 7 * * 1-5", "*/15 8-17 * * mon-fri", "0 0 1,15 jan,jul *", "  5 4 * * sun  ")

schemathesis.openapi.format("cron", st.sampled_from(CRONS))
# Domains set apart for tests receive no mail, and are refused.
schemathesis.openapi.format("email", st.from_regex(r"[a-z0-9!#&+/=_-]{1,9}@[a-z]{1,9}\.(com|org|de)", fullmatch=True))


@schemathesis.hook
def before_call(_context: Any, case: Any, _options: Any) -> None:
    """Let a body keep the rules between its fields; what it breaks of its schema stays broken."""
    if isinstance(case.body, dict) and isinstance(case.body.get("config"), dict):
        _fit(case.body["config"])


def _fit(config: dict[str, Any]) -> None:
    """Put bounds in order, and ask for no more topics than there are."""
    low, high = config.setdefault("minScore", audience.LOWEST_SCORE), config.get("maxScore")
    if _number(low) and _number(high) and audience.LOWEST_SCORE <= high < low <= audience.HIGHEST_SCORE:
        config["minScore"] = high
    for each in _payloads(config.get("filters")):
        if _number(each.get("min")) and _number(each.get("max")):
            each["min"], each["max"] = sorted((each["min"], each["max"]))
    topics, overlap = config.get("topicIds"), config.get("minTopicOverlap")
    if isinstance(topics, list) and _number(overlap) and 1 <= overlap <= audience.MOST_TOPICS:
        config["minTopicOverlap"] = min(overlap, max(1, len({topic for topic in topics if _number(topic)})))


def _payloads(filters: Any) -> list[dict[str, Any]]:
    """Find the number ranges in both spellings."""
    found = list(filters.values()) if isinstance(filters, dict) else []
    found += [inner for outer in found if isinstance(outer, dict) for inner in outer.values()]
    return [each for each in found if isinstance(each, dict)]


def _number(value: Any) -> bool:
    """Whether this is a number of JSON."""
    return isinstance(value, int | float) and not isinstance(value, bool)
