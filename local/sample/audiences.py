"""Sample audiences: what companies of five kinds might save, every filter of the catalog among them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import NAMESPACE_DNS, UUID, uuid5

from local.sample.data import Sizes

ORGANIZATIONS: Final = ("Alder Analytics", "Birch Capital", "Cedar Health", "Dune Logistics", "Elm Learning")
ZONES: Final = ("America/New_York", "Europe/Berlin", "America/Los_Angeles", "Asia/Tokyo", "UTC", "Asia/Kolkata")
CRONS: Final = ("0 6 * * *", "30 5 * * *", "0 7 * * 1-5", "15 4 * * *")
MAILBOXES: Final = ("ann", "bo", "cleo", "dev", "eve", "finn", "gil")


def contains(*words: str, mode: str = "any") -> dict[str, Any]:
    """Ask for a text that holds any, or all, of these words."""
    return {"values": list(words), "operator": "contains", "mode": mode}


def one_of(*values: str) -> dict[str, Any]:
    """Ask for one of these values."""
    return {"values": list(values)}


@dataclass(frozen=True, slots=True)
class Template:
    """
    An audience without its owner.

    :param topics: place of the first topic among the most popular, how many, and the step between them
    """

    name: str
    topics: tuple[int, int, int]
    filters: Mapping[str, Any]
    overlap: int = 1
    scores: tuple[int, int] = (70, 99)


@dataclass(frozen=True, slots=True)
class Definition:
    """One audience to save: whose it is, what it asks for, when it is refreshed, and who hears of it."""

    organization: str
    organization_id: UUID
    name: str
    config: Mapping[str, Any]
    timezone: str
    cron: str
    recipients: tuple[str, ...]


BOSSES: Final = one_of("director", "vp", "c_suite")
TEMPLATES: Final = (
    Template(
        "Marketing leaders",
        (0, 10, 1),
        {"role.seniority": BOSSES, "role.departments": one_of("marketing", "sales")},
    ),
    Template(
        "CFOs and finance heads", (2, 25, 3), {"jobTitle.include": contains("cfo", "financial officer", "finance")}
    ),
    Template(
        "Hospital decision makers",
        (20, 12, 2),
        {"company.industryGroups": one_of("healthcare"), "role.isDecisionMaker": True},
    ),
    Template(
        "Mid-size shippers",
        (15, 20, 4),
        {
            "company.employeeCount": {"min": 50, "max": 500},
            "company.industries": one_of("transportation and logistics"),
        },
    ),
    Template(
        "Teachers' tools", (23, 15, 5), {"company.industries": one_of("education administration")}, scores=(50, 99)
    ),
    Template(
        "Software buyers in California",
        (1, 30, 2),
        {"geo.states": one_of("CA"), "company.industries": one_of("software development", "cloud computing")},
    ),
    Template(
        "Founders with a phone", (3, 40, 3), {"jobTitle.exact": one_of("founder", "owner"), "contact.hasPhone": True}
    ),
    Template(
        "VPs outside the United States", (5, 30, 4), {"role.isVp": True, "geo.countries": one_of("CA", "GB", "DE")}
    ),
    Template("Green fleets", (18, 60, 1), {"company.names": contains("green", "motors", mode="all")}),
    Template(
        "Reachable recruiters",
        (8, 10, 1),
        {"jobTitle.include": contains("recruiter"), "contact.hasBusinessEmail": True, "contact.hasLinkedin": True},
    ),
    Template("Deep researchers", (0, 50, 1), {"contact.hasBusinessEmail": True}, overlap=3),
    Template(
        "Finance people at banks", (11, 40, 2), {"role.isFinance": True, "company.names": contains("bank", "capital")}
    ),
    Template(
        "Large insurers",
        (14, 30, 3),
        {
            "company.revenueRanges": one_of("500 million to 1 billion", "1 billion and over"),
            "company.industries": one_of("insurance"),
        },
    ),
    Template(
        "Operations, not interns",
        (16, 8, 1),
        {"role.departments": one_of("operations"), "jobTitle.exclude": contains("intern", "analyst")},
    ),
    Template(
        "Young designers",
        (24, 100, 2),
        {"demographics.ageRanges": one_of("18-24", "25-34"), "jobTitle.include": contains("designer")},
    ),
    Template("Northern companies", (30, 60, 3), {"company.domains": contains("north")}, scores=(60, 90)),
    Template("Chief executives", (4, 80, 2), {"role.isCeo": True}),
    Template(
        "Texas and New York, mornings",
        (6, 25, 5),
        {"geo.cities": one_of("austin", "houston", "dallas", "new york"), "role.seniority": one_of("manager")},
    ),
    Template(
        "Small teams in media",
        (9, 40, 4),
        {"company.sizes": one_of("1 to 10", "11 to 50"), "company.industryGroups": one_of("media")},
    ),
    Template(
        "Women in engineering",
        (4, 20, 3),
        {"demographics.genders": one_of("female"), "role.departments": one_of("engineering")},
        overlap=2,
    ),
    Template("Everybody who is on fire", (10, 5, 1), {}, scores=(97, 99)),
    Template(
        "One employer", (0, 250, 1), {"company.domains": one_of("clearbrook.example.com", "ironpeak.example.com")}
    ),
    Template(
        "No private address, no phone",
        (7, 12, 2),
        {"contact.hasPersonalEmail": False, "contact.hasPhone": False, "role.isDecisionMaker": False},
        scores=(85, 99),
    ),
    Template(
        "Senior data engineers", (5, 60, 7), {"jobTitle.include": contains("senior", "data engineer", mode="all")}
    ),
    Template(
        "A niche nobody fills",
        (1900, 3, 1),
        {"role.isCeo": True, "geo.cities": one_of("buffalo"), "company.employeeCount": {"min": 20_000}},
        scores=(95, 99),
    ),
)


def definitions(sizes: Sizes, *, audiences: int = 25, organizations: int = 5) -> list[Definition]:
    """
    Return so many audiences, shared out among so many organizations.

    The first 25 differ in kind; those after them ask the same of other topics.
    """
    return [_definition(number, sizes, organizations) for number in range(audiences)]


def _definition(number: int, sizes: Sizes, organizations: int) -> Definition:
    """Give a template its owner, its topics, its schedule and its readers."""
    template, round_ = TEMPLATES[number % len(TEMPLATES)], number // len(TEMPLATES)
    owner = number % organizations
    organization = ORGANIZATIONS[owner] if owner < len(ORGANIZATIONS) else f"Organization {owner + 1}"
    word = organization.split()[-1].lower()
    readers = (MAILBOXES[number % len(MAILBOXES)], MAILBOXES[(number + 3) % len(MAILBOXES)])
    return Definition(
        organization=organization,
        organization_id=uuid5(NAMESPACE_DNS, f"organization-{owner + 1}.example.com"),
        name=template.name if round_ == 0 else f"{template.name} {round_ + 1}",
        config=_config(template, sizes, round_),
        timezone=ZONES[number % len(ZONES)],
        cron=CRONS[number % len(CRONS)],
        recipients=tuple(f"{reader}.{word}@example.com" for reader in readers[: 1 + number % 2]),
    )


def _config(template: Template, sizes: Sizes, round_: int) -> dict[str, Any]:
    """Write a template down as a client would send it."""
    first, many, step = template.topics
    places = range(first + 11 * round_, first + 11 * round_ + many * step, step)
    return {
        "topicIds": sorted({sizes.topic(place) for place in places}),
        "minScore": template.scores[0],
        "maxScore": template.scores[1],
        "minTopicOverlap": template.overlap,
        "filters": dict(template.filters),
    }
