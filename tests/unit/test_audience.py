"""An audience's config: defaults, bounds, one canonical form, one hash."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker import audience
from worker.errors import InvalidConfig
from worker.filters import CATALOG, Kind

WORDS = st.lists(st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=5), max_size=4)
NUMBERS = st.none() | st.integers(0, 9)
PAYLOADS = {
    Kind.BOOLEAN: st.none() | st.booleans(),
    Kind.MULTI_SELECT: st.none() | st.fixed_dictionaries({}, optional={"values": WORDS}),
    Kind.TEXT_TERMS: st.fixed_dictionaries({"values": WORDS}, optional={"mode": st.sampled_from(["any", "all"])}),
    Kind.NUMBER_RANGE: st.fixed_dictionaries({}, optional={"min": st.just(0), "max": NUMBERS}),
}
CONFIGS = st.fixed_dictionaries(
    {"topicIds": st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=6)},
    optional={
        "minScore": st.none() | st.integers(0, 80),
        "maxScore": st.integers(80, 99),
        "filters": st.fixed_dictionaries({}, optional={key: PAYLOADS[it.kind] for key, it in CATALOG.items()}),
        "sourceUrl": st.none() | st.just("https://example.com/a?b=c"),
    },
)


def test_defaults_are_written_out() -> None:
    """Topics alone make a config, and its normalised form says everything that was left unsaid."""
    config = audience.parse({"topicIds": [3, 1, 3]})

    assert config.normalized == {
        "topicIds": [1, 3],
        "minScore": 70,
        "maxScore": 99,
        "minTopicOverlap": 1,
        "filters": {},
    }


def test_the_hash_is_the_sha_256_of_the_canonical_json() -> None:
    """The canonical JSON has sorted keys and no spaces, and the hash is as published."""
    config = audience.parse({"topicIds": [1], "filters": {"geo.cities": {"values": ["Zürich"]}}})

    assert config.canonical == (
        '{"filters":{"geo.cities":{"values":["Zürich"]}},"maxScore":99,"minScore":70,"minTopicOverlap":1,"topicIds":[1]}'
    )
    assert config.hash == "b77d91790d6ef81c70857bd34d203250354aa30e539fd658d2d3549506fe744f"


@pytest.mark.parametrize(("given_score", "score"), [(None, 50), (0, 50), (49, 50), (50, 50), (51, 51), (99, 99)])
def test_scores_below_the_floor_are_raised(given_score: int | None, score: int) -> None:
    """No score below 50 is ever asked for, and null asks for all."""
    config = audience.parse({"topicIds": [1], "minScore": given_score})

    assert score == config.min_score


@given(raw=CONFIGS)
@settings(derandomize=True, max_examples=150, deadline=None, database=None)
def test_a_normalised_config_parses_to_itself(raw):
    """Normalising is done once and for all: a second pass, through JSON, changes neither config nor hash."""
    config = audience.parse(raw)

    again = audience.parse(json.loads(json.dumps(config.normalized)))

    assert (config.hash, config.canonical) == (again.hash, again.canonical)


@given(raw=CONFIGS, chance=st.randoms(use_true_random=False))
@settings(derandomize=True, max_examples=50, deadline=None, database=None)
def test_order_and_repetition_do_not_change_the_hash(raw, chance):
    """The same topics and filters in another order, some of them twice, are the same audience."""
    topic_ids = [*raw["topicIds"], raw["topicIds"][0]]
    chance.shuffle(topic_ids)
    keys = list(raw.get("filters", {}))
    chance.shuffle(keys)
    shuffled = {**raw, "topicIds": topic_ids, "filters": {key: raw["filters"][key] for key in keys}}

    assert audience.parse(raw).hash == audience.parse(shuffled).hash


def test_the_source_url_is_kept_but_not_hashed() -> None:
    """Where an audience came from does not change whom it means."""
    plain = audience.parse({"topicIds": [1]})
    sourced = audience.parse({"topicIds": [1], "sourceUrl": "https://example.com/topics"})

    assert (sourced.hash, sourced.source_url) == (plain.hash, "https://example.com/topics")


def test_whole_numbers_are_integers_however_they_are_written() -> None:
    """JSON knows one kind of number: 7.0 is 7, in the config and in its hash."""
    written = {"topicIds": [7.0], "minScore": 60.0, "maxScore": 90.0, "minTopicOverlap": 1.0}
    config = audience.parse({**written, "filters": {"company.employeeCount": {"min": 5.0}}})
    plain = {"topicIds": [7], "minScore": 60, "maxScore": 90, "minTopicOverlap": 1}

    assert audience.parse({**plain, "filters": {"company.employeeCount": {"min": 5}}}).hash == config.hash


def test_applied_filters_are_the_dotted_keys_in_order() -> None:
    """Only filters that ask for something apply."""
    config = audience.parse(
        {"topicIds": [1], "filters": {"role": {"isVp": False, "isCeo": None}, "geo.cities": {"values": ["rome"]}}}
    )

    assert config.applied_filters == ["geo.cities", "role.isVp"]


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        ([], "config: must be an object"),
        (None, "config: must be an object"),
        ({}, "topicIds: is required"),
        ({"topicIds": []}, "topicIds: must hold 1 to 250 distinct topics"),
        ({"topicIds": list(range(251))}, "topicIds: must hold 1 to 250 distinct topics"),
        ({"topicIds": 7}, "topicIds: must be a valid list"),
        ({"topicIds": ["7"]}, "topicIds.0: must be a valid integer"),
        ({"topicIds": [1, True]}, "topicIds.1: must be a valid integer"),
        ({"topicIds": [-1]}, "topicIds.0: must be greater than or equal to 0"),
        ({"topicIds": [2**32]}, "topicIds.0: must be less than or equal to 4294967295"),
        ({"topicIds": [1], "minScore": 100}, "minScore: must be less than or equal to 99"),
        ({"topicIds": [1], "minScore": -1}, "minScore: must be greater than or equal to 0"),
        ({"topicIds": [1], "minScore": 70.5}, "minScore: must be a valid integer"),
        ({"topicIds": [1], "maxScore": 49}, "maxScore: must be greater than or equal to 50"),
        ({"topicIds": [1], "maxScore": 60}, "minScore: must not exceed maxScore, which is 60"),
        ({"topicIds": [1], "minTopicOverlap": 0}, "minTopicOverlap: must be greater than or equal to 1"),
        (
            {"topicIds": [1, 2, 2], "minTopicOverlap": 3},
            "minTopicOverlap: must not exceed the number of topics, which is 2",
        ),
        ({"topicIds": [1], "filters": []}, "filters: must be an object"),
        ({"topicIds": [1], "filters": {"geo.planets": {}}}, "filters.geo.planets: is not a known filter"),
        ({"topicIds": [1], "topics": [2]}, "topics: is not a known key"),
        ({"topicIds": [1], "topic_ids": [2]}, "topic_ids: is not a known key"),
        ({"topicIds": [1], "sourceUrl": "javascript:alert(1)"}, "sourceUrl: URL scheme should be 'http' or 'https'"),
        ({"topicIds": [1], "sourceUrl": 7}, "sourceUrl: URL input should be a string or URL"),
    ],
)
def test_a_config_that_breaks_a_rule_is_refused_in_one_sentence(raw: object, sentence: str) -> None:
    """The refusal names the first field and its rule."""
    with pytest.raises(InvalidConfig) as refused:
        audience.parse(raw)

    assert sentence == str(refused.value)


def test_a_config_over_64_kib_is_refused() -> None:
    """What is within each filter's bounds may still be too much in all."""
    values = [f"{number:03}" + "é" * 150 for number in range(300)]

    with pytest.raises(InvalidConfig, match=r"^config: must not exceed 65536 bytes"):
        audience.parse({"topicIds": [1], "filters": {"geo.cities": {"values": values}}})
