"""The config as OpenAPI describes it says what the parser does."""

import re
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from api import schemas
from api.schemas import audiences as described
from worker import audience, audiences
from worker.errors import InvalidConfig
from worker.filters import CATALOG, Filter, Kind

VALIDATOR = Draft202012Validator(schemas.AudienceConfigInput.model_json_schema())
PLANE = [chr(code) for code in range(0x10000) if not 0xD800 <= code < 0xE000]

words = st.lists(
    st.sampled_from(["cfo", "vp", " x ", "", "x" * 200, "x" * 201, "a\tb", "\x85", "\u00e9", 7, None]), max_size=3
)
numbers = st.sampled_from([None, -1, 0, 1, 50, 2**53 - 1, 2**53, -(2**53), True, "7", 1.5, 7.0, float(2**53)])
anything = st.sampled_from([None, True, False, 0, "cfo", [], {}, {"value": 1}])


def payloads(entry: Filter) -> st.SearchStrategy[Any]:
    """Make payloads of a filter, good and bad."""
    operators = st.sampled_from([*entry.operators, "contains", "like", None])
    made = {
        Kind.BOOLEAN: st.booleans(),
        Kind.MULTI_SELECT: st.fixed_dictionaries({}, optional={"values": words}),
        Kind.TEXT_TERMS: st.fixed_dictionaries(
            {}, optional={"values": words, "operator": operators, "mode": st.sampled_from(["any", "all", "none", None])}
        ),
        Kind.NUMBER_RANGE: st.fixed_dictionaries({}, optional={"min": numbers, "max": numbers}),
    }
    return made[entry.kind] | anything


@st.composite
def filters(draw: st.DrawFn) -> Any:
    """Make filters in one spelling or the other, good and bad."""
    entry = draw(st.sampled_from(list(CATALOG.values())))
    group, _, name = entry.key.partition(".")
    payload = draw(payloads(entry) | words)
    options = draw(
        st.dictionaries(
            st.sampled_from([f"{name}Mode", f"{name}Operator"]), st.sampled_from(["all", "equals", None, 1]), max_size=1
        )
    )
    # Inside a group, mode and operator are described beside the filter only.
    inside = (
        {it: payload[it] for it in payload if it not in ("mode", "operator")} if isinstance(payload, dict) else payload
    )
    dotted, nested = {entry.key: payload}, {group: {name: inside, **options}}
    return draw(st.sampled_from([dotted, nested, {group: None}, {group: name}, {"role.isKing": True}, None, []]))


fields = {
    "topicIds": st.lists(st.sampled_from([0, 1, 7, 2**32 - 1, 2**32, -1, "7", True, 7.0, 7.5]), max_size=3),
    "minScore": numbers,
    "maxScore": numbers,
    "minTopicOverlap": numbers,
    "filters": filters(),
    "sourceUrl": st.sampled_from([None, "", "https://a.example/b?c=d", "http://localhost:80", "ftp://a.example", 7]),
    "topic_ids": st.just([1]),
}
# One field at a time: a config with two faults would hide whether both are described.
configs = st.sampled_from(list(fields)).flatmap(
    lambda name: (fields[name] | anything).map(lambda value: {"topicIds": [1, 2], name: value})
)


def crossed(error: InvalidConfig) -> bool:
    """Whether a rule between fields is broken, which a schema cannot say."""
    return "must not exceed" in error.rule and ("Score" in error.rule or "topics" in error.rule or "max" in error.rule)


@settings(max_examples=1000, derandomize=True, deadline=None, database=None)
@given(configs | anything)
def test_the_schema_and_the_parser_agree(config: Any) -> None:
    """What the schema allows is parsed, rules between fields aside, and what it forbids is refused."""
    try:
        audience.parse(config)
    except InvalidConfig as error:
        assume(not crossed(error))
        parsed = False
    else:
        parsed = True

    assert VALIDATOR.is_valid(config) == parsed, config


@pytest.mark.parametrize("key", CATALOG)
def test_every_filter_is_described_in_both_spellings(key: str) -> None:
    """Null is a payload of each, and says that the schema knows it."""
    group, _, name = key.partition(".")

    assert VALIDATOR.is_valid({"topicIds": [1], "filters": {key: None}})
    assert VALIDATOR.is_valid({"topicIds": [1], "filters": {group: {name: None}}})


def test_the_example_is_valid() -> None:
    """What readers copy works."""
    [example] = VALIDATOR.schema["examples"]

    assert VALIDATOR.is_valid(example)
    assert example["topicIds"] == list(audience.parse(example).topic_ids)


def test_the_pattern_of_names_knows_every_character_that_is_refused() -> None:
    """Character by character, the pattern and the house say the same."""
    unseen = {character for character in PLANE if audiences.unseen(character)}

    assert unseen == {character for character in PLANE if re.fullmatch(f"[{described.UNSEEN}]", character)}
