"""
The filter catalog: each key with the kind of payload it takes, the ``people`` column it reads and its operators.

Different filters are joined by AND. A payload that asks for nothing (no values, no bounds, null) is no filter.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from worker.errors import InvalidConfig

MOST_VALUES: Final = 500
MOST_CHARACTERS: Final = 200
MOST_NUMBER: Final = 2**53 - 1  # what JSON carries through every client unharmed
SHOWN_CHARACTERS: Final = 60

Payload: TypeAlias = bool | dict[str, Any]
"""A normalised payload, plain JSON: ``True`` or ``{"values": ["cfo"], "operator": "contains", "mode": "any"}``."""


class Kind(StrEnum):
    """The shape of a filter's payload."""

    MULTI_SELECT = "multi_select"
    BOOLEAN = "boolean"
    TEXT_TERMS = "text_terms"
    NUMBER_RANGE = "number_range"


@dataclass(frozen=True, slots=True)
class Filter:
    """
    One filter of the catalog.

    :param column: the column of ``people`` it reads
    :param operators: what a text filter may ask for, its default first
    :param excludes: whether the people that the terms match are dropped instead of kept
    :param presence: whether a boolean asks if a text column holds anything
    """

    key: str
    kind: Kind
    column: str
    operators: tuple[str, ...] = ()
    excludes: bool = False
    presence: bool = False


CATALOG: Final[Mapping[str, Filter]] = {
    entry.key: entry
    for entry in (
        Filter("company.industries", Kind.MULTI_SELECT, "company_industry"),
        Filter("company.industryGroups", Kind.MULTI_SELECT, "company_industry_group"),
        Filter("company.revenueRanges", Kind.MULTI_SELECT, "company_revenue_range"),
        Filter("company.sizes", Kind.MULTI_SELECT, "company_size"),
        Filter("company.employeeCount", Kind.NUMBER_RANGE, "company_employee_count"),
        Filter("company.names", Kind.TEXT_TERMS, "company_name", ("contains", "equals")),
        Filter("company.domains", Kind.TEXT_TERMS, "company_domain", ("equals", "contains")),
        Filter("role.seniority", Kind.MULTI_SELECT, "seniority"),
        Filter("role.departments", Kind.MULTI_SELECT, "department"),
        Filter("role.isDecisionMaker", Kind.BOOLEAN, "role_is_decision_maker"),
        Filter("role.isCeo", Kind.BOOLEAN, "role_is_ceo"),
        Filter("role.isVp", Kind.BOOLEAN, "role_is_vp"),
        Filter("role.isFinance", Kind.BOOLEAN, "role_is_finance"),
        Filter("jobTitle.include", Kind.TEXT_TERMS, "job_title", ("contains", "equals")),
        Filter("jobTitle.exclude", Kind.TEXT_TERMS, "job_title", ("contains", "equals"), excludes=True),
        Filter("jobTitle.exact", Kind.TEXT_TERMS, "job_title", ("equals",)),
        Filter("contact.hasBusinessEmail", Kind.BOOLEAN, "business_email", presence=True),
        Filter("contact.hasPersonalEmail", Kind.BOOLEAN, "personal_email", presence=True),
        Filter("contact.hasPhone", Kind.BOOLEAN, "phone", presence=True),
        Filter("contact.hasLinkedin", Kind.BOOLEAN, "linkedin_url", presence=True),
        Filter("geo.countries", Kind.MULTI_SELECT, "geo_country_code"),
        Filter("geo.states", Kind.MULTI_SELECT, "geo_state_code"),
        Filter("geo.cities", Kind.MULTI_SELECT, "geo_city"),
        Filter("demographics.ageRanges", Kind.MULTI_SELECT, "demographics_age_range"),
        Filter("demographics.genders", Kind.MULTI_SELECT, "demographics_gender"),
    )
}
GROUPS: Final = frozenset(key.partition(".")[0] for key in CATALOG)


def _tidy(value: str) -> str:
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in value):
        raise ValueError("must not hold control characters or unpaired surrogates")
    tidied = unicodedata.normalize("NFC", value).strip()
    if len(tidied) > MOST_CHARACTERS:
        raise ValueError(f"must not exceed {MOST_CHARACTERS} characters")
    return tidied


def _distinct(values: list[str]) -> list[str]:
    distinct = sorted({value for value in values if value})
    if len(distinct) > MOST_VALUES:
        raise ValueError(f"must not exceed {MOST_VALUES} values")
    return distinct


def _nothing_is_empty(raw: object) -> object:
    return {} if raw is None else raw


def whole(value: object) -> object:
    """Read 7.0 as 7, as JSON does; whatever is no whole number stays what it is."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Whole = Annotated[int, BeforeValidator(whole)]
Values = Annotated[list[Annotated[str, AfterValidator(_tidy)]], AfterValidator(_distinct)]
Bound = Annotated[Whole, Field(ge=-MOST_NUMBER, le=MOST_NUMBER)]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


class _Choices(_Strict):
    values: Values = []


class _Terms(_Choices):
    operator: Literal["contains", "equals"] | None = None
    mode: Literal["any", "all"] = "any"


class _Range(_Strict):
    min: Bound | None = None
    max: Bound | None = None


_SHAPES: Final[Mapping[Kind, TypeAdapter[Any]]] = {
    Kind.BOOLEAN: TypeAdapter(Annotated[bool | None, Field(strict=True)]),
    Kind.MULTI_SELECT: TypeAdapter(Annotated[_Choices, BeforeValidator(_nothing_is_empty)]),
    Kind.TEXT_TERMS: TypeAdapter(Annotated[_Terms, BeforeValidator(_nothing_is_empty)]),
    Kind.NUMBER_RANGE: TypeAdapter(Annotated[_Range, BeforeValidator(_nothing_is_empty)]),
}


def parse(raw: Mapping[str, object]) -> dict[str, Payload]:
    """
    Normalise filters, in the dotted or the nested spelling, to dotted keys in order.

    ``{"jobTitle": {"include": ["cfo"], "includeMode": "any"}}`` says the same as
    ``{"jobTitle.include": {"values": ["cfo"], "mode": "any"}}``.

    :raises InvalidConfig: naming the first filter that breaks a rule
    """
    given: dict[str, object] = {}
    for key, payload in _dotted(raw):
        if key not in CATALOG:
            raise InvalidConfig(f"filters.{shown(key)}", "is not a known filter")
        if key in given:
            raise InvalidConfig(f"filters.{key}", "must not be given twice")
        given[key] = payload
    parsed = {key: _payload(CATALOG[key], given[key]) for key in sorted(given)}
    return {key: payload for key, payload in parsed.items() if payload is not None}


def refusal(error: ValidationError, *parents: str) -> InvalidConfig:
    """Name the field and the rule of the first thing that a model refused."""
    first = error.errors(include_url=False, include_input=False)[0]
    rule = {"missing": "is required", "extra_forbidden": "is not a known key"}.get(first["type"], first["msg"])
    if first["type"] in ("model_type", "dict_type"):
        rule = "must be an object"
    plain = rule.removeprefix("Value error, ").replace("Input should be", "must be")
    field = ".".join((*parents, *(shown(str(part)) for part in first["loc"])))
    return InvalidConfig(field or "config", plain)


def shown(name: str) -> str:
    """Make a name that somebody else chose fit to be shown: short, and without anything that does not print."""
    return "".join(part if part.isprintable() else "\N{REPLACEMENT CHARACTER}" for part in name[:SHOWN_CHARACTERS])


def _dotted(raw: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    for name, payload in raw.items():
        if name in GROUPS:
            yield from _nested(name, payload)
        else:
            yield name, payload


def _nested(group: str, members: object) -> Iterator[tuple[str, object]]:
    if not isinstance(members, Mapping | None):
        raise InvalidConfig(f"filters.{group}", "must be an object")
    options: dict[str, dict[str, object]] = {}
    payloads: dict[str, object] = {}
    for member, payload in (members or {}).items():
        key, option = _option(f"{group}.{member}")
        if option:
            options.setdefault(key, {})[option] = payload
        else:
            payloads[key] = {"values": payload} if isinstance(payload, list) else payload
    for key in payloads | options:
        yield key, _with_options(key, payloads.get(key), options.get(key, {}))


def _option(key: str) -> tuple[str, str | None]:
    """Tell ``jobTitle.includeMode``, an option of ``jobTitle.include``, from a filter of its own."""
    option = re.fullmatch(r"(.+)(Mode|Operator)", key)
    if option and option[1] in CATALOG and CATALOG[option[1]].kind is Kind.TEXT_TERMS:
        return option[1], option[2].lower()
    return key, None


def _with_options(key: str, payload: object, options: Mapping[str, object]) -> object:
    """Put the options that stand beside a text filter into its payload."""
    if not options or not isinstance(payload, Mapping | None):
        return payload
    inside = payload or {}
    for option in options:
        if option in inside:
            raise InvalidConfig(f"filters.{key}.{option}", "must not be given twice")
    return {**inside, **options}


def _payload(entry: Filter, raw: object) -> Payload | None:
    try:
        asked = _SHAPES[entry.kind].validate_python(raw)
    except ValidationError as error:
        raise refusal(error, "filters", entry.key) from None
    if isinstance(asked, _Terms):
        return _terms(entry, asked)
    if isinstance(asked, _Range):
        return _range(entry, asked)
    if isinstance(asked, _Choices):
        return {"values": asked.values} if asked.values else None
    return bool(asked) if asked is not None else None


def _terms(entry: Filter, asked: _Terms) -> Payload | None:
    operator = asked.operator or entry.operators[0]
    if operator not in entry.operators:
        raise InvalidConfig(f"filters.{entry.key}.operator", f"must be {' or '.join(entry.operators)}")
    return {"values": asked.values, "operator": operator, "mode": asked.mode} if asked.values else None


def _range(entry: Filter, asked: _Range) -> Payload | None:
    if asked.min is not None and asked.max is not None and asked.min > asked.max:
        raise InvalidConfig(f"filters.{entry.key}", "min must not exceed max")
    return asked.model_dump(exclude_none=True) or None
