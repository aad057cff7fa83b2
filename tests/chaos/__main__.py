"""
The long form: ``make chaos MINUTES=20 SEED=7``.

Shows what it does while it does it, adds a row to docs/chaos.md, and ends with exit code 1 when a promise was broken.
"""

import argparse
import logging
import random
import signal
import sys

from chaos import report
from chaos.campaign import Campaign, Wanted


def main() -> int:
    """Run the suite once and return the exit code."""
    wanted = _asked()
    logging.disable(logging.CRITICAL)
    signal.signal(signal.SIGINT, _interrupted)
    try:
        print(
            f"Seed {wanted.seed}: {wanted.audiences} audiences, three days, faults for about {wanted.minutes:g} minutes."
        )
        verdict = Campaign(wanted, lambda sentence: print(sentence, flush=True)).run()
    except KeyboardInterrupt:
        print("Everything that was started has been stopped.")
        return 130
    print(report.summary(verdict))
    report.append(verdict)
    return 1 if verdict.histories else 0


def _asked() -> Wanted:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="chaos", description="Faults of all kinds, and nothing may be lost.")
    parser.add_argument("--seed", type=int, default=random.randrange(1000), help="by default a random one")
    parser.add_argument("--minutes", type=float, default=5, help="how long faults go on, at least (default 5)")
    parser.add_argument("--audiences", type=int, help="how many are active (by default 15 a minute, 300 at most)")
    asked = parser.parse_args()
    if asked.minutes <= 0 or (asked.audiences is not None and asked.audiences <= 0):
        parser.error("--minutes and --audiences must be more than 0")
    return Wanted(asked.seed, asked.minutes, asked.audiences or min(300, max(15, round(15 * asked.minutes))))


def _interrupted(*_: object) -> None:
    """Say that Ctrl-C was heard: stopping takes some seconds."""
    print("Stopping everything that was started.", flush=True)
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
