"""The filter catalog: what each kind of filter takes, how it is normalised, and what is refused."""

import pytest

from worker import filters, person
from worker.errors import InvalidConfig
from worker.filters import CATALOG, Kind

KEYS = sorted(CATALOG)


def test_every_filter_reads_a_column_that_people_have() -> None:
    """No filter of the catalog names a column that is not a public person field."""
    unknown = {entry.column for entry in CATALOG.values()} - set(person.COLUMNS)

    assert unknown == set()


def test_only_text_filters_have_operators() -> None:
    """A filter has operators exactly when it takes text terms."""
    with_operators = {entry.key for entry in CATALOG.values() if entry.operators}

    assert with_operators == {entry.key for entry in CATALOG.values() if entry.kind is Kind.TEXT_TERMS}


@pytest.mark.parametrize(
    ("raw", "normalised"),
    [
        ({"role.seniority": {"values": ["vp", "director", "vp"]}}, {"role.seniority": {"values": ["director", "vp"]}}),
        ({"role.isCeo": False}, {"role.isCeo": False}),
        (
            {"jobTitle.include": {"values": [" cfo "]}},
            {"jobTitle.include": {"values": ["cfo"], "operator": "contains", "mode": "any"}},
        ),
        (
            {"company.domains": {"values": ["example.com"], "mode": "all"}},
            {"company.domains": {"values": ["example.com"], "operator": "equals", "mode": "all"}},
        ),
        (
            {"jobTitle.exact": {"values": ["cafe\u0301"]}},
            {"jobTitle.exact": {"values": ["caf\u00e9"], "operator": "equals", "mode": "any"}},
        ),
        ({"company.employeeCount": {"min": 0, "max": None}}, {"company.employeeCount": {"min": 0}}),
        ({"company.employeeCount": {"min": 50, "max": 50}}, {"company.employeeCount": {"min": 50, "max": 50}}),
    ],
)
def test_payloads_are_normalised(raw: dict[str, object], normalised: dict[str, object]) -> None:
    """Values are trimmed, composed, sorted and distinct, and defaults are written out."""
    parsed = filters.parse(raw)

    assert normalised == parsed


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("nothing", [None, {}, {"values": []}, {"values": ["", " \u3000"]}, {"min": None}])
def test_a_payload_that_asks_for_nothing_is_no_filter(key: str, nothing: object) -> None:
    """Null, no values, blank values and a range without bounds disappear, where their kind may spell them so."""
    spellings = {Kind.BOOLEAN: (None,), Kind.NUMBER_RANGE: (None, {}, {"min": None})}
    allowed = spellings.get(CATALOG[key].kind, (None, {}, {"values": []}, {"values": ["", " \u3000"]}))
    if nothing not in allowed:
        with pytest.raises(InvalidConfig, match=f"^filters.{key}"):
            filters.parse({key: nothing})
        return

    assert filters.parse({key: nothing}) == {}


def test_the_nested_spelling_says_the_same_as_the_dotted_one() -> None:
    """Groups, bare lists and the options beside a text filter come out under dotted keys."""
    nested = {
        "role": {"isDecisionMaker": True, "seniority": ["vp"]},
        "contact": {"hasBusinessEmail": True, "hasPhone": None},
        "jobTitle": {"include": ["cfo"], "includeMode": "all", "includeOperator": "equals", "excludeMode": "any"},
        "company": {"employeeCount": {"min": 5}, "names": {"values": ["acme"]}, "namesMode": "all"},
        "geo": None,
    }
    dotted = {
        "role.isDecisionMaker": True,
        "role.seniority": {"values": ["vp"]},
        "contact.hasBusinessEmail": True,
        "jobTitle.include": {"values": ["cfo"], "mode": "all", "operator": "equals"},
        "company.employeeCount": {"min": 5},
        "company.names": {"values": ["acme"], "mode": "all"},
    }

    assert filters.parse(dotted) == filters.parse(nested)


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        ({"role.salary": True}, "filters.role.salary: is not a known filter"),
        ({"role": {"salary": True}}, "filters.role.salary: is not a known filter"),
        ({"role": {"seniorityMode": "any"}}, "filters.role.seniorityMode: is not a known filter"),
        ({"role": True}, "filters.role: must be an object"),
        ({"role": {"isCeo": True}, "role.isCeo": True}, "filters.role.isCeo: must not be given twice"),
        ({"a\x1b[31m" + "b" * 99: 1}, "filters.a\ufffd[31m" + "b" * 54 + ": is not a known filter"),
        ({"role.isCeo": "yes"}, "filters.role.isCeo: must be a valid boolean"),
        ({"role.isCeo": 1}, "filters.role.isCeo: must be a valid boolean"),
        ({"role.seniority": ["vp"]}, "filters.role.seniority: must be an object"),
        ({"role.seniority": "vp"}, "filters.role.seniority: must be an object"),
        ({"role.seniority": {"values": "vp"}}, "filters.role.seniority.values: must be a valid list"),
        ({"role.seniority": {"values": [7]}}, "filters.role.seniority.values.0: must be a valid string"),
        ({"role.seniority": {"value": ["vp"]}}, "filters.role.seniority.value: is not a known key"),
        ({"role.seniority": {"values": [], "mode": "any"}}, "filters.role.seniority.mode: is not a known key"),
        ({"jobTitle": {"include": "cfo", "includeMode": "any"}}, "filters.jobTitle.include: must be an object"),
        (
            {"jobTitle": {"include": {"mode": "any"}, "includeMode": "any"}},
            "filters.jobTitle.include.mode: must not be given twice",
        ),
        (
            {"jobTitle": {"include": ["cfo"], "includeMode": "some"}},
            "filters.jobTitle.include.mode: must be 'any' or 'all'",
        ),
        (
            {"jobTitle.exact": {"values": ["cfo"], "operator": "contains"}},
            "filters.jobTitle.exact.operator: must be equals",
        ),
        ({"company.employeeCount": {"min": 2, "max": 1}}, "filters.company.employeeCount: min must not exceed max"),
        ({"company.employeeCount": {"min": 1.5}}, "filters.company.employeeCount.min: must be a valid integer"),
        ({"company.employeeCount": {"min": True}}, "filters.company.employeeCount.min: must be a valid integer"),
        (
            {"company.employeeCount": {"max": 2**53}},
            "filters.company.employeeCount.max: must be less than or equal to 9007199254740991",
        ),
        (
            {"geo.cities": {"values": ["a\tb"]}},
            "filters.geo.cities.values.0: must not hold control characters or unpaired surrogates",
        ),
        ({"geo.cities": {"values": ["a" * 201]}}, "filters.geo.cities.values.0: must not exceed 200 characters"),
        (
            {"geo.cities": {"values": [f"city {number}" for number in range(501)]}},
            "filters.geo.cities.values: must not exceed 500 values",
        ),
    ],
)
def test_a_filter_that_breaks_a_rule_is_refused_in_one_sentence(raw: dict[str, object], sentence: str) -> None:
    """The refusal names the field and the rule, and nothing of pydantic shines through."""
    with pytest.raises(InvalidConfig) as refused:
        filters.parse(raw)

    assert sentence == str(refused.value)


def test_the_bounds_count_distinct_values() -> None:
    """A value given a thousand times is one value."""
    parsed = filters.parse({"geo.cities": {"values": ["berlin", " berlin"] * 500}})

    assert parsed == {"geo.cities": {"values": ["berlin"]}}
