"""
The public person fields: one list, in the order that rows, exports and pages show them.

``people`` and ``audience_results`` hold one column a field; the migrations spell the same columns out, and a test
holds both to this page.
"""

import re
from dataclasses import dataclass
from typing import Final

_TEXT: Final = "Nullable(String)"
_CHOICE: Final = "LowCardinality(Nullable(String))"
_FLAG: Final = "Nullable(Bool)"
_NUMBER: Final = "Nullable(UInt32)"
_DATE: Final = "Nullable(Date)"


@dataclass(frozen=True, slots=True)
class Field:
    """
    One public person field.

    :param name: dotted public name, ``company.name`` for example; a dot opens a nested object
    :param type: ClickHouse type of its column
    :param group: the heading it belongs under
    """

    name: str
    type: str
    group: str

    @property
    def column(self) -> str:
        """The ClickHouse column: the name in snake_case, ``company_name`` for example."""
        return re.sub(r"\.|(?=[A-Z])", "_", self.name).lower()


FIELDS: Final[tuple[Field, ...]] = (
    Field("hashedEmail", "String", "identity"),
    Field("firstName", _TEXT, "identity"),
    Field("lastName", _TEXT, "identity"),
    Field("fullName", _TEXT, "identity"),
    Field("businessEmail", _TEXT, "contact"),
    Field("personalEmail", _TEXT, "contact"),
    Field("email", _TEXT, "contact"),
    Field("primaryContactEmail", _TEXT, "contact"),
    Field("phone", _TEXT, "contact"),
    Field("linkedinUrl", _TEXT, "contact"),
    Field("headline", _TEXT, "role"),
    Field("jobTitle", _TEXT, "role"),
    Field("seniority", _CHOICE, "role"),
    Field("department", _CHOICE, "role"),
    Field("role.isDecisionMaker", _FLAG, "role"),
    Field("role.isCeo", _FLAG, "role"),
    Field("role.isVp", _FLAG, "role"),
    Field("role.isFinance", _FLAG, "role"),
    Field("company.name", _TEXT, "company"),
    Field("company.domain", _TEXT, "company"),
    Field("company.industry", _CHOICE, "company"),
    Field("company.industryGroup", _CHOICE, "company"),
    Field("company.revenueRange", _CHOICE, "company"),
    Field("company.size", _CHOICE, "company"),
    Field("company.employeeCount", _NUMBER, "company"),
    Field("geo.city", _CHOICE, "geo"),
    Field("geo.state", _CHOICE, "geo"),
    Field("geo.stateCode", _CHOICE, "geo"),
    Field("geo.country", _CHOICE, "geo"),
    Field("geo.countryCode", _CHOICE, "geo"),
    Field("demographics.ageRange", _CHOICE, "demographics"),
    Field("demographics.gender", _CHOICE, "demographics"),
    Field("profile.yearsOfExperience", _NUMBER, "profile signals"),
    Field("profile.connections", _NUMBER, "profile signals"),
    Field("compliance.doNotCall", _FLAG, "compliance"),
    Field("compliance.region", _CHOICE, "compliance"),
    Field("source.provider", _CHOICE, "source metadata"),
    Field("source.lastSeenOn", _DATE, "source metadata"),
)
"""The first one, ``hashedEmail``, names the person: 64 hex characters, never null. All others may be null."""

COLUMNS: Final[tuple[str, ...]] = tuple(field.column for field in FIELDS)
