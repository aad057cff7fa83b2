"""
The script of a run: which fault comes when, from a seed alone.

Three lanes go on side by side, so that faults meet: a worker is killed while PostgreSQL restarts. Each lane deals its
deck to the end and shuffles again, so that every kind comes up in every round.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

DAILY = ("daily-1", "daily-2", "daily-3")
BEATS = ("beat-1", "beat-2")
OTHERS = ("announce", "control", "manual")
SERVERS = ("redis", "postgres", "clickhouse", "mail")


@dataclass(frozen=True, slots=True)
class Card:
    """
    One kind of fault in a deck.

    :param targets: whom it may hit
    :param seconds: how long it lasts, between these two
    :param sizes: what it may be measured by: seconds that a clock is wrong, messages that are lost
    :param copies: how many of it are in the deck
    """

    kind: str
    targets: Sequence[str]
    seconds: tuple[float, float] = (0, 0)
    sizes: Sequence[int] = (0,)
    copies: int = 1


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: what happens to whom, for how long, and how long nothing happened on its lane before."""

    kind: str
    target: str
    seconds: float
    size: int
    pause: float


DECKS: Mapping[str, Sequence[Card]] = {
    "processes": (
        Card("kill", DAILY, (0.5, 2), copies=4),
        Card("kill", ("announce",), (0.5, 3), copies=2),
        Card("kill", ("control", "manual"), (0.5, 3), copies=2),
        Card("kill", BEATS, (0.5, 3)),
        Card("kill child", (*DAILY, "announce"), copies=2),
        Card("stop", DAILY, (5, 7), copies=2),
        Card("stop", ("announce",), (5, 7)),
        Card("stop", ("control",), (5, 7)),
        Card("term", (*DAILY, "announce", "control"), (0, 1), copies=2),
        Card("clock", (*DAILY, *BEATS, *OTHERS), (2, 6), sizes=(-300, -60, 60, 300), copies=2),
    ),
    "servers": (
        Card("restart", ("redis",), (0.5, 3)),
        Card("flush", ("redis",), copies=2),
        Card("restart", ("clickhouse",), (0.5, 4)),
        Card("restart", ("postgres",), (0, 3), copies=2),
        Card("restart", ("mail",), (1, 5)),
        Card("read-only", ("storage",), (2, 5)),
        Card("clock", ("postgres",), (2, 5), sizes=(-20, -10, -6)),
    ),
    "wires": (
        *(Card("half-open", (server,), (1, 2)) for server in SERVERS),
        *(Card("deaf", (server,), (1, 6)) for server in SERVERS),
        *(Card("cut", (server,)) for server in SERVERS),
        Card("answer lost", ("postgres",), (1, 3), sizes=(1, 2, 4), copies=2),
        Card("message lost", ("postgres",), (1, 3), sizes=(1, 2, 4)),
        Card("answer lost", ("mail",), (2, 4), sizes=(1, 2)),
        Card("message lost", ("mail",), (2, 4), sizes=(1, 2)),
        Card("terminated", ("postgres",), (1, 3), copies=2),
        Card("exhausted", ("postgres",), (1, 4)),
        Card("idle transaction", ("postgres",), (3, 8)),
        Card("bells dropped", ("redis",), copies=2),
        Card("bells doubled", ("redis",), copies=2),
    ),
}
# Pauses before a fault, in seconds: servers are left alone longer, because everybody needs them.
PAUSES: Mapping[str, tuple[float, float]] = {"processes": (1, 4), "servers": (3, 9), "wires": (2, 5)}


def faults(seed: int, lane: str) -> Iterator[Fault]:
    """Yield the faults of one lane, without end; the same seed yields the same."""
    chance = random.Random(f"{seed} {lane}")
    deck = [card for card in DECKS[lane] for _ in range(card.copies)]
    while True:
        chance.shuffle(deck)
        for card in deck:
            yield Fault(
                card.kind,
                chance.choice(card.targets),
                chance.uniform(*card.seconds),
                chance.choice(card.sizes),
                chance.uniform(*PAUSES[lane]),
            )
