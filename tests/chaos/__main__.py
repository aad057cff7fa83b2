"""
The long form: ``make chaos MINUTES=20 SEED=7``.

Shows what it does while it does it, adds a row to docs/chaos.md, and ends with exit code 1 when a promise was broken.
"""

import argparse
import logging
import random
import sys

from chaos import report
from chaos.campaign import Campaign, Wanted


def main() -> int:
    """Run the suite once and return the exit code."""
    wanted = _asked()
    logging.disable(logging.CRITICAL)
    try:
        print(f"Seed {wanted.seed}: {wanted.audiences} audiences, three days, faults for {wanted.minutes:g} minutes.")
        verdict = Campaign(wanted, lambda sentence: print(sentence, flush=True)).run()
    except KeyboardInterrupt:
        print("Interrupted; everything that was started has been stopped.")
        return 130
    print(report.summary(verdict))
    report.append(verdict)
    return 1 if verdict.histories else 0


def _asked() -> Wanted:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="chaos", description="Faults of all kinds, and nothing may be lost.")
    parser.add_argument("--seed", type=int, default=random.randrange(1000), help="by default a random one")
    parser.add_argument("--minutes", type=float, default=5, help="how long faults go on, about (default 5)")
    parser.add_argument("--audiences", type=int, default=300, help="how many are active (default 300)")
    asked = parser.parse_args()
    if asked.minutes <= 0 or asked.audiences <= 0:
        parser.error("--minutes and --audiences must be more than 0")
    return Wanted(asked.seed, asked.minutes, asked.audiences)


if __name__ == "__main__":
    sys.exit(main())
