"""What a check came to, and the remedies that several checks share."""

from dataclasses import dataclass
from typing import Final, Literal

MIGRATE: Final = "Run: audience-worker migrate"
START: Final = "Start beat and the control worker; if they run, look at their logs."


@dataclass(frozen=True, slots=True)
class Verdict:
    """
    What a check came to.

    :param state: ``problem`` keeps work from being done, ``warning`` does not yet
    :param says: how it stands, as a sentence
    :param remedy: what to do about it; empty where all is well
    """

    state: Literal["ok", "warning", "problem"]
    says: str
    remedy: str = ""
