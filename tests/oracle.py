"""
Who an audience means, said a second time: in polars and plain Python, sharing nothing with the planner.

Whole columns at a time, so that a million people take seconds. Text is folded by Python (``str.strip``, NFKC,
``str.casefold``); over every code point that Python 3.11 knows this agrees with the folding of ClickHouse. They may
part company over characters that a newer Unicode than Python's has assigned since.
"""

import unicodedata
from datetime import date
from typing import Any

import polars as pl

MULTI_SELECT = {
    "company.industries": "company_industry",
    "company.industryGroups": "company_industry_group",
    "company.revenueRanges": "company_revenue_range",
    "company.sizes": "company_size",
    "role.seniority": "seniority",
    "role.departments": "department",
    "geo.countries": "geo_country_code",
    "geo.states": "geo_state_code",
    "geo.cities": "geo_city",
    "demographics.ageRanges": "demographics_age_range",
    "demographics.genders": "demographics_gender",
}
BOOLEAN = {
    "role.isDecisionMaker": "role_is_decision_maker",
    "role.isCeo": "role_is_ceo",
    "role.isVp": "role_is_vp",
    "role.isFinance": "role_is_finance",
    "contact.hasBusinessEmail": "business_email",
    "contact.hasPersonalEmail": "personal_email",
    "contact.hasPhone": "phone",
    "contact.hasLinkedin": "linkedin_url",
}
TEXT_TERMS = {
    "jobTitle.include": "job_title",
    "jobTitle.exclude": "job_title",
    "jobTitle.exact": "job_title",
    "company.names": "company_name",
    "company.domains": "company_domain",
}
NUMBER_RANGE = {"company.employeeCount": "company_employee_count"}
COLUMNS = MULTI_SELECT | BOOLEAN | TEXT_TERMS | NUMBER_RANGE
EQUALS_UNLESS_TOLD = ("company.domains", "jobTitle.exact")


def run(
    config: dict[str, Any], data_date: date, people: pl.DataFrame, signals: pl.DataFrame, topics: pl.DataFrame
) -> tuple[int, list[dict[str, Any]]]:
    """
    Return the number of candidates, and the result rows in rank order.

    :param config: as a customer writes it, filters under dotted keys
    :param people: ``hashed_email`` and the columns that the filters read
    :param signals: ``data_date``, ``topic_id``, ``score``, and ``hem_hash`` or ``hashed_email``, as people have it too
    :param topics: ``topic_id``, ``name``, ``type``, ``industry``, ``category``
    :returns: rows of rank, hashed_email, score, topic_overlap, matched_topics
    """
    candidates, results, matches = select(config, data_date, people, signals)
    named = matches.join(topics.unique("topic_id"), on="topic_id", how="left").sort(
        "hashed_email", "topic_score", "topic_id", descending=[False, True, False]
    )
    topic = pl.struct("topic_id", "name", "type", "industry", "category").alias("matched_topics")
    lists = named.group_by("hashed_email", maintain_order=True).agg(topic)
    rows = results.join(lists, on="hashed_email", how="left", maintain_order="left")
    return candidates, rows.to_dicts()


def counts(config: dict[str, Any], data_date: date, people: pl.DataFrame, signals: pl.DataFrame) -> tuple[int, int]:
    """Return the numbers of candidates and of results alone; the frames are those of :func:`run`."""
    candidates, results, _ = select(config, data_date, people, signals)
    return candidates, results.height


def select(
    config: dict[str, Any], data_date: date, people: pl.DataFrame, signals: pl.DataFrame
) -> tuple[int, pl.DataFrame, pl.DataFrame]:
    """Return the number of candidates, the ranked results, and each result's topics with their scores."""
    key = "hem_hash" if "hem_hash" in signals.columns else "hashed_email"
    lowest = config.get("minScore", 70)
    in_range = signals.filter(
        pl.col("data_date") == data_date,
        pl.col("topic_id").is_in(config["topicIds"]),
        pl.col("score").is_between(max(lowest or 0, 50), config.get("maxScore", 99)),
    )
    matches = in_range.group_by(key, "topic_id").agg(pl.col("score").max().alias("topic_score"))
    candidates = (
        matches.group_by(key)
        .agg(pl.col("topic_score").max().alias("score"), pl.len().alias("topic_overlap"))
        .filter(pl.col("topic_overlap") >= config.get("minTopicOverlap", 1))
    )
    found = people.join(candidates, on=key)
    for name, payload in config.get("filters", {}).items():
        found = found.filter(mask(found[COLUMNS[name]], name, payload))
    ranked = found.sort("score", "topic_overlap", "hashed_email", descending=[True, True, False]).with_row_index(
        "rank", offset=1
    )
    people_found = ranked.select([*dict.fromkeys((key, "hashed_email"))])
    return (
        candidates.height,
        ranked.select("rank", "hashed_email", "score", "topic_overlap"),
        matches.join(people_found, on=key).select("hashed_email", "topic_id", "topic_score"),
    )


def mask(column: pl.Series, name: str, payload: Any) -> pl.Series:
    """Return which values of a column pass one filter; each distinct value is looked at once."""
    verdicts = {value: passes(value, name, payload) for value in column.unique().to_list()}
    return pl.Series([verdicts[value] for value in column.to_list()], dtype=pl.Boolean)


def passes(value: Any, name: str, payload: Any) -> bool:
    """Return whether one person's value passes one filter."""
    if name in BOOLEAN:
        return bool(fold(value) if isinstance(value, str) else value) == payload
    if name in NUMBER_RANGE:
        low, high = payload.get("min"), payload.get("max")
        return (low is None and high is None) or (
            value is not None and (low is None or value >= low) and (high is None or value <= high)
        )
    wanted = {fold(term) for term in payload["values"]} - {""}
    if not wanted:
        return True
    if name in MULTI_SELECT:
        return value is not None and fold(value) in wanted
    return text_passes(fold(value or ""), name, wanted, payload)


def text_passes(text: str, name: str, wanted: set[str], payload: dict[str, Any]) -> bool:
    """Return whether a folded text passes the terms of one filter."""
    operator = payload.get("operator", "equals" if name in EQUALS_UNLESS_TOLD else "contains")
    hits = [text == term if operator == "equals" else term in text for term in wanted]
    matched = all(hits) if payload.get("mode") == "all" else any(hits)
    return matched != (name == "jobTitle.exclude")


def fold(text: str) -> str:
    """Fold a text for comparison."""
    return unicodedata.normalize("NFKC", text.strip()).casefold()
